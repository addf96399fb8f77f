//! Envelopes by the `age` crate's own keys: what opens, what does not, and that nothing panics.

use std::iter;

use age::secrecy::ExposeSecret;
use age::x25519;
use proptest::prelude::*;

use super::*;
use crate::record::testing::{file, record};
use crate::record::{Cwf1Reader, FileLimits};

/// Bytes of a piece of the payload.
const PIECE: usize = 64 << 10;

fn sealed(content: &[u8], recipients: &[Recipient]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut envelope = seal(&mut out, recipients).unwrap();
    envelope.write_all(content).unwrap();
    envelope.finish().unwrap();
    out
}

/// Unwraps by this key, as an HSM does.
fn held(key: &x25519::Identity, wrapped: &[WrappedFileKey]) -> Result<WipedBytes, Failure> {
    let stanzas = wrapped.iter().map(|WrappedFileKey { arguments, body }| Stanza {
        tag: X25519.to_owned(),
        args: arguments.clone(),
        body: body.clone(),
    });
    let key = stanzas.filter_map(|stanza| key.unwrap_stanza(&stanza)).find_map(Result::ok);
    let key = key.ok_or_else(|| Failure::new(Exit::KeyUnknown, "key: not for this one"))?;
    Ok(WipedBytes::from(key.expose_secret().as_slice()))
}

fn opened(bytes: &[u8], key: &x25519::Identity) -> Result<Vec<u8>, FileFault> {
    let mut file =
        DeliveredFile::open(bytes, Some(&mut |wrapped| held(key, wrapped))).map_err(|e| e.fault)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(FileFault::unread)?;
    Ok(content)
}

fn fault(bytes: &[u8], key: &x25519::Identity) -> Option<EnvelopeFault> {
    match opened(bytes, key) {
        Err(FileFault::Envelope(fault)) => Some(fault),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[test]
fn what_was_sealed_is_read_again_at_every_length_around_a_piece() {
    let key = x25519::Identity::generate();
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 5] {
        let bytes = sealed(&content(length), &[key.to_public()]);
        assert!(opened(&bytes, &key).unwrap() == content(length), "{length}");
    }
}

#[test]
fn a_bare_file_is_read_as_it_is_and_a_sealed_one_only_with_keys() {
    let bare = content(3 * PIECE);
    let mut file = DeliveredFile::open(bare.as_slice(), None).unwrap();
    assert!(file.is_bare());
    let mut read = Vec::new();
    file.read_to_end(&mut read).unwrap();
    assert!(read == bare);
    let key = x25519::Identity::generate();
    let bytes = sealed(&bare, &[key.to_public()]);
    let refused = DeliveredFile::open(bytes.as_slice(), None).err().unwrap();
    assert_eq!(refused.exit(), Exit::KeyUnknown);
    assert!(refused.to_string().contains("name the key store"), "{refused}");
    assert!(!DeliveredFile::open(bytes.as_slice(), Some(&mut |w| held(&key, w))).unwrap().is_bare());
}

#[test]
fn each_of_several_recipients_opens_it_and_nobody_else() {
    let keys: Vec<_> = iter::repeat_with(x25519::Identity::generate).take(RECIPIENTS_MAX).collect();
    let recipients: Vec<_> = keys.iter().map(x25519::Identity::to_public).collect();
    let bytes = sealed(b"content", &recipients);
    for key in [&keys[0], &keys[RECIPIENTS_MAX - 1]] {
        assert_eq!(opened(&bytes, key).unwrap(), b"content");
    }
    let stranger = opened(&bytes, &x25519::Identity::generate()).unwrap_err();
    assert!(matches!(stranger, FileFault::Refused(failure) if failure.exit == Exit::KeyUnknown));
    let more = [&recipients[..], &recipients[..1]].concat();
    assert_eq!(seal(Vec::new(), &more).err().unwrap().exit(), Exit::Usage);
    assert_eq!(seal(Vec::new(), &[]).err().unwrap().exit(), Exit::Io);
}

#[test]
fn a_cut_is_noticed_wherever_it_is() {
    let key = x25519::Identity::generate();
    let bytes = sealed(&content(2 * PIECE + 100), &[key.to_public()]);
    let payload = bytes.len() - (2 * PIECE + 100 + 3 * 16);
    for (length, found) in [
        (MAGIC.len(), EnvelopeFault::Head),
        (payload - 17, EnvelopeFault::Head),
        (payload - 16, EnvelopeFault::Head),
        (payload, EnvelopeFault::Truncated),
        (payload + 1, EnvelopeFault::Damaged),
        (payload + PIECE, EnvelopeFault::Damaged),
        (payload + PIECE + 16, EnvelopeFault::Truncated),
        (payload + 2 * (PIECE + 16), EnvelopeFault::Truncated),
        (bytes.len() - 1, EnvelopeFault::Damaged),
    ] {
        assert_eq!(fault(&bytes[..length], &key), Some(found), "cut at {length}");
    }
    let after = [&bytes[..], b"x"].concat();
    assert_eq!(fault(&after, &key), Some(EnvelopeFault::Damaged));
    // The last piece of one file behind the first of another.
    let other = sealed(&content(2 * PIECE + 100), &[key.to_public()]);
    let mixed = [&bytes[..payload + PIECE + 16], &other[payload + PIECE + 16..]].concat();
    assert!(fault(&mixed, &key).is_some());
}

#[test]
fn a_reader_of_records_names_the_fault_of_the_envelope() {
    let key = x25519::Identity::generate();
    let whole = file(&[record(1, "C1", &[("GFX", &content(3 * PIECE))])]);
    let bytes = sealed(&whole, &[key.to_public()]);
    let read = |bytes: &[u8]| {
        let file = DeliveredFile::open(bytes, Some(&mut |wrapped| held(&key, wrapped)))?;
        let mut reader = Cwf1Reader::open(file, FileLimits::default())?;
        while reader.next_frame()?.is_some() {}
        reader.finish().map(|end| end.length)
    };
    assert_eq!(read(&bytes).unwrap(), whole.len() as u64);
    let mut changed = bytes.clone();
    changed[bytes.len() - 2 * PIECE] ^= 1;
    let refused = read(&changed).unwrap_err();
    assert_eq!(refused.exit(), Exit::FileDigest);
    let said = Failure::from(refused).to_string();
    assert!(said.contains("a piece of the sealed file") && said.contains("ask the issuer"), "{said}");
}

/// Counts the bytes that are taken of an input without an end.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = usize::try_from(self.0).unwrap();
        let begin = b"age-encryption.org/v1\n-> ";
        for (byte, n) in buffer.iter_mut().zip(at..) {
            *byte = begin.get(n).copied().unwrap_or(b'A');
        }
        self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn a_head_without_an_end_is_not_read_without_an_end() {
    let mut input = Endless(0);
    let refused = DeliveredFile::open(&mut input, Some(&mut |_| panic!("nothing to unwrap"))).err().unwrap();
    assert!(matches!(refused.fault, FileFault::Envelope(EnvelopeFault::Head)));
    assert_eq!(input.0, HEAD_MAX);
}

#[test]
fn a_holder_that_returns_another_length_is_refused() {
    let key = x25519::Identity::generate();
    let bytes = sealed(b"content", &[key.to_public()]);
    for length in [0, 15, 17, 32] {
        let returned = &mut |_: &[WrappedFileKey]| Ok(WipedBytes::from(vec![0; length]));
        let refused = DeliveredFile::open(bytes.as_slice(), Some(returned)).err().unwrap();
        assert_eq!(refused.exit(), Exit::Hsm, "{length}");
    }
    let wrong = &mut |_: &[WrappedFileKey]| Ok(WipedBytes::from(vec![0; 16]));
    let refused = DeliveredFile::open(bytes.as_slice(), Some(wrong)).err().unwrap();
    assert_eq!(refused.exit(), Exit::FileFormat, "the MAC of the head is under the file key");
}

proptest! {
    #[test]
    fn a_changed_byte_is_always_noticed(at in any::<prop::sample::Index>(), by in 1u8..) {
        let key = x25519::Identity::generate();
        let mut bytes = sealed(&content(300), &[key.to_public()]);
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        // Changed at its first bytes, it is no envelope: whoever reads it finds no CWF1 file.
        let noticed = opened(&bytes, &key).map_or(true, |read| read == bytes);
        prop_assert!(noticed, "byte {} of {}", at, bytes.len());
    }

    #[test]
    fn whatever_follows_the_magic_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let key = x25519::Identity::generate();
        let lines = [b"age-encryption.org/v1\n-> X25519 ", &bytes[..], b"\n--- "].concat();
        let _ = opened(&lines, &key);
        let _ = opened(&[MAGIC, &bytes[..]].concat(), &key);
    }

    #[test]
    fn base64_of_any_form_does_not_panic(
        argument in "[A-Za-z0-9+/=]{0,60}", body in "[A-Za-z0-9+/=\n]{0,200}", mac in "[A-Za-z0-9+/]{40,45}"
    ) {
        let key = x25519::Identity::generate();
        let text = format!("age-encryption.org/v1\n-> X25519 {argument}\n{body}\n--- {mac}\n");
        let _ = opened(text.as_bytes(), &key);
    }
}
