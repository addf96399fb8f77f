//! The framed printer against scripts on both of its links.

use proptest::prelude::*;

use super::*;
use crate::testing::{Script, ScriptCheck, ScriptLink, frame, noise};

const SOON: Duration = Duration::from_secs(1);

fn png(length: usize) -> Vec<u8> {
    (0..=255u8).cycle().take(length).collect()
}

/// Command 'H' with the image's digest.
fn announced(script: Script, side: u8, image: &[u8]) -> Script {
    let length = u32::try_from(image.len()).unwrap().to_be_bytes();
    script.done(b'H', &[&[side], &length[..], &Sha256::digest(image)[..]].concat())
}

/// A printer that receives 'C' and these announcements, and answers 'P' with this status.
fn printing(sides: &[(u8, &[u8])], status: u8) -> Script {
    let script = sides.iter().fold(Script::new().done(b'C', b""), |s, (side, png)| announced(s, *side, png));
    script.expect(&frame(b"P")).give(&[0x06]).give(&frame(&[b'P', status])).expect(&[0x06])
}

fn printer(
    serial: Script,
    stream: Script,
) -> (FramedPrinter<ScriptLink, ScriptLink>, ScriptCheck, ScriptCheck) {
    let ((serial, first), (stream, second)) = (serial.build(), stream.build());
    (FramedPrinter::new(serial, stream), first, second)
}

#[test]
fn announces_each_side_and_sends_it_on_the_other_link() {
    let (front, back) = (png(2050), [0x89, b'P', b'N', b'G']);
    let serial = printing(&[(b'F', &front), (b'B', &back)], b'0');
    let stream = Script::new()
        .expect(&[&b"F\x00\x00\x08\x02"[..], &front].concat())
        .expect(&[&b"B\x00\x00\x00\x04"[..], &back].concat());
    let (mut machine, commands, images) = printer(serial, stream);
    machine.print(Some(&front), Some(&back)).unwrap();
    commands.finished();
    images.finished();
}

#[test]
fn the_digest_is_sha_256() {
    // FIPS 180-2, B.1: "abc".
    let digest = b"\xBA\x78\x16\xBF\x8F\x01\xCF\xEA\x41\x41\x40\xDE\x5D\xAE\x22\x23\
                   \xB0\x03\x61\xA3\x96\x17\x7A\x9C\xB4\x10\xFF\x61\xF2\x00\x15\xAD";
    let serial = Script::new().done(b'C', b"").done(b'H', &[&b"B\x00\x00\x00\x03"[..], digest].concat());
    let (mut machine, commands, images) =
        printer(serial.done(b'P', b""), Script::new().expect(b"B\x00\x00\x00\x03abc"));
    machine.print(None, Some(b"abc")).unwrap();
    commands.finished();
    images.finished();
}

#[test]
fn a_print_without_pictures_is_not_sent() {
    let (mut machine, commands, images) = printer(Script::new(), Script::new());
    assert!(machine.print(None, None).unwrap_err().is_data());
    commands.finished();
    images.finished();
}

#[test]
fn ribbon_out_is_a_supply_fault_when_printing_and_when_asked() {
    let (mut machine, commands, _) = printer(printing(&[(b'F', b"x")], b'4'), Script::new());
    assert!(machine.print(Some(b"x"), None).unwrap_err().waits_for_person());
    commands.finished();
    let asked = Script::new().expect(&frame(b"S")).give(&[0x06]).give(&frame(b"S4")).expect(&[0x06]);
    let (mut machine, commands, _) = printer(asked, Script::new());
    assert!(machine.ready().unwrap_err().waits_for_person());
    commands.finished();
}

#[test]
fn a_picture_that_did_not_arrive_is_the_links_fault_and_not_the_records() {
    let (mut machine, commands, _) = printer(printing(&[(b'F', b"x")], b'3'), Script::new());
    let error = machine.print(Some(b"x"), None).unwrap_err();
    assert!(matches!(error, DeviceError::Image(_)) && !error.is_data(), "{error}");
    commands.finished();
}

/// A stream that takes this many bytes and then none, until it is reopened.
struct Clogged {
    room: usize,
    got: std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
    fault: LinkError,
}

impl ByteLink for Clogged {
    fn send(&mut self, bytes: &[u8], _: Duration) -> Result<(), LinkError> {
        let fits = bytes.len().min(self.room);
        self.room -= fits;
        self.got.lock().unwrap().last_mut().unwrap().extend_from_slice(&bytes[..fits]);
        if fits == bytes.len() { Ok(()) } else { Err(self.fault.clone()) }
    }

    fn receive(&mut self, _: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        Err(LinkError::Timeout(timeout))
    }

    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        self.room = usize::MAX;
        self.got.lock().unwrap().push(vec![]);
        Ok(())
    }
}

#[test]
fn an_image_that_stops_anywhere_prints_nothing_and_the_next_goes_over_a_new_connection() {
    let image = png(40);
    let whole = [&b"F\x00\x00\x00\x28"[..], &image].concat();
    for fault in [LinkError::Timeout(SOON), LinkError::Closed, LinkError::Io("x".into())] {
        for room in 0..whole.len() {
            let got = std::sync::Arc::new(std::sync::Mutex::new(vec![vec![]]));
            let stream = Clogged { room, got: got.clone(), fault: fault.clone() };
            // The first card gets 'C' and 'H' but no 'P'; then the second card gets everything.
            let first = announced(Script::new().done(b'C', b""), b'F', &image);
            let both = announced(first.done(b'C', b""), b'F', &image).done(b'P', b"");
            let (serial, commands) = both.build();
            let mut machine = FramedPrinter::new(serial, stream);
            let error = machine.print(Some(&image), None).unwrap_err();
            assert_eq!(error, DeviceError::Image(fault.to_string()));
            machine.print(Some(&image), None).unwrap();
            commands.finished();
            assert_eq!(got.lock().unwrap()[..], [whole[..room].to_vec(), whole.clone()]);
        }
    }
}

/// The controller does not know how much of the picture the printer has received.
#[test]
fn after_a_picture_that_did_not_arrive_the_next_goes_over_a_new_connection() {
    let got = std::sync::Arc::new(std::sync::Mutex::new(vec![vec![]]));
    let stream = Clogged { room: usize::MAX, got: got.clone(), fault: LinkError::Closed };
    let first = announced(Script::new().done(b'C', b""), b'F', b"x").expect(&frame(b"P"));
    let first = first.give(&[0x06]).give(&frame(b"P3")).expect(&[0x06]);
    let both = announced(first.done(b'C', b""), b'F', b"y").done(b'P', b"");
    let (serial, commands) = both.build();
    let mut machine = FramedPrinter::new(serial, stream);
    assert!(matches!(machine.print(Some(b"x"), None), Err(DeviceError::Image(_))));
    machine.print(Some(b"y"), None).unwrap();
    commands.finished();
    assert_eq!(got.lock().unwrap()[..], [b"F\0\0\0\x01x".to_vec(), b"F\0\0\0\x01y".to_vec()]);
}

#[test]
fn opening_anew_opens_both_links() {
    let got = std::sync::Arc::new(std::sync::Mutex::new(vec![vec![]]));
    let stream = Clogged { room: 0, got: got.clone(), fault: LinkError::Closed };
    let (serial, commands) = printing(&[(b'F', b"x")], b'0').build();
    let mut machine = FramedPrinter::new(serial, stream);
    machine.reopen(SOON).unwrap();
    machine.print(Some(b"x"), None).unwrap();
    commands.finished();
    assert_eq!(got.lock().unwrap().len(), 2);
}

#[test]
fn a_printer_that_stays_silent_ends_as_timeout() {
    let serial = announced(Script::new().done(b'C', b""), b'F', b"x").expect(&frame(b"P")).give(&[0x06]);
    let (machine, commands, _) = printer(serial, Script::new());
    let work = Duration::from_secs(3);
    let error = machine.with_work_time(work).print(Some(b"x"), None).unwrap_err();
    assert_eq!(error, DeviceError::Timeout(work));
    commands.finished();
}

proptest! {
    #[test]
    fn random_bytes_never_panic_or_hang(bytes in noise(64, b"\x02\x03\x06\x10\x15CHP0"), image in noise(32, b"x")) {
        let (mut machine, _, _) = printer(Script::new().pieces_of(64).give(&bytes), Script::new());
        let _ = machine.print(Some(&image), Some(b"x"));
        let _ = machine.ready();
        let _ = machine.reopen(SOON);
    }
}
