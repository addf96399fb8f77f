//! `issuer-cert`: the issuer's RSA keys and their certificates. Never prints a private key.
//!
//! Not here: keys at rest and signatures (`hsm`), the formats (`emv`).

use std::io::Write;
use std::path::{Path, PathBuf};

use super::common::store_path;
use crate::arguments::whole_number;
use crate::emv::MonthYear;
use crate::exit::{Exit, Failure};
use crate::prep::issuer_desk::{
    AuthorityKey, AuthorityName, IssuerDesk, IssuerKeyInfo, IssuerKeyName, checksum, exponent_bytes,
    issuer_key_name,
};
use crate::prep::offline::KEY_BITS_MAX;
use crate::prep::write_output;
use crate::stdout;

/// The commands about the issuer's RSA keys.
#[derive(Debug, clap::Subcommand)]
pub enum IssuerCertCommand {
    /// Make a new RSA key pair; it gets the next version.
    New {
        /// The store.
        #[command(flatten)]
        store: IssuerStoreArg,
        /// Issuer identifier: the first 3 to 8 digits of the account numbers.
        #[arg(long, value_name = "DIGITS", value_parser = issuer)]
        issuer: [u8; 4],
        /// Size of the modulus, 1024 to 1976.
        #[arg(long, default_value_t = 1408, value_parser = key_bits)]
        bits: u16,
        /// Public exponent: 3 or 65537.
        #[arg(long, default_value_t = 3, value_parser = whole_number::<u32>)]
        exponent: u32,
    },
    /// Write the request for the certificate of a key, to be sent to the certification authority.
    Request {
        /// The key.
        #[command(flatten)]
        key: IssuerKeyArg,
        /// File to write.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Check the certificate that the certification authority sent, and keep it with its key.
    Import {
        /// The key.
        #[command(flatten)]
        key: IssuerKeyArg,
        /// The authority's answer.
        #[arg(value_name = "FILE")]
        answer: PathBuf,
    },
    /// Certify a key by a test authority of the store itself, for tests and demonstrations.
    #[command(name = "self")]
    Own {
        /// The key.
        #[command(flatten)]
        key: IssuerKeyArg,
        /// RID of the authority: the first 5 bytes of the AIDs.
        #[arg(long, default_value = "A000000003", value_parser = rid)]
        rid: [u8; 5],
        /// Index of the authority's key, in hex.
        #[arg(long, default_value = "F1", value_parser = index)]
        index: u8,
        /// Last month of validity, MM/YYYY.
        #[arg(long, value_name = "MM/YYYY", value_parser = month)]
        expiry: MonthYear,
        /// File for the authority's public key, which terminals need.
        #[arg(long, value_name = "FILE")]
        authority: Option<PathBuf>,
    },
    /// List the keys and their certificates.
    List {
        /// The store.
        #[command(flatten)]
        store: IssuerStoreArg,
    },
}

/// The argument that names the issuer's key store.
#[derive(Debug, Clone, clap::Args)]
pub struct IssuerStoreArg {
    /// The issuer's key store.
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
    pub keys: PathBuf,
}

/// The arguments that name an RSA key.
#[derive(Debug, Clone, clap::Args)]
pub struct IssuerKeyArg {
    #[command(flatten)]
    store: IssuerStoreArg,
    /// The key, as DIGITS:VERSION.
    #[arg(long, value_name = "DIGITS:VERSION", value_parser = key_name)]
    key: IssuerKeyName,
}

fn issuer(text: &str) -> Result<[u8; 4], String> {
    let digits = text.trim_end_matches('F');
    let sound = (3..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let mut bytes = [0; 4];
    let read = sound.then(|| hex::decode_to_slice(format!("{digits:F<8}"), &mut bytes).ok()).flatten();
    read.map(|()| bytes).ok_or_else(|| "it must be 3 to 8 digits".into())
}

fn key_name(text: &str) -> Result<IssuerKeyName, String> {
    let parts = text.split_once(':').and_then(|(digits, version)| {
        let version = version.parse().ok().filter(|version| *version > 0)?;
        Some(IssuerKeyName { issuer: issuer(digits).ok()?, version })
    });
    parts.ok_or_else(|| "it must be DIGITS:VERSION, as 476173:1".into())
}

/// Reads the size of an RSA key.
pub(super) fn key_bits(text: &str) -> Result<u16, String> {
    let bits =
        text.parse().ok().filter(|bits: &u16| (1024..=KEY_BITS_MAX).contains(bits) && bits.is_multiple_of(8));
    bits.ok_or_else(|| format!("it must be a multiple of 8 from 1024 to {KEY_BITS_MAX}"))
}

fn rid(text: &str) -> Result<[u8; 5], String> {
    let mut bytes = [0; 5];
    hex::decode_to_slice(text, &mut bytes).map(|()| bytes).map_err(|_| "it must be 10 hex digits".into())
}

fn index(text: &str) -> Result<u8, String> {
    let mut bytes = [0; 1];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| "it must be 2 hex digits".to_owned())?;
    let [index] = bytes;
    Ok(index)
}

fn month(text: &str) -> Result<MonthYear, String> {
    let wrong = || "it must be MM/YYYY, from 01/2000 to 12/2099".to_owned();
    let digits = text.split_once("/20").map(|(month, year)| [month, year].concat()).ok_or_else(wrong)?;
    let mut bcd = [0; 2];
    hex::decode_to_slice(digits, &mut bcd).map_err(|_| wrong())?;
    MonthYear::from_bcd(bcd).ok_or_else(wrong)
}

/// Runs one of the commands, printing to standard output.
pub fn run(command: &IssuerCertCommand) -> Result<Exit, Failure> {
    match command {
        IssuerCertCommand::New { store, issuer, bits, exponent } => {
            print(&[IssuerDesk::open(&store.keys)?.make(*issuer, *bits, *exponent)?])
        }
        IssuerCertCommand::Request { key, output } => {
            let request = IssuerDesk::open(&key.store.keys)?.request(key.key)?;
            write_output(output, &request)?;
            stdout::print(&format!(
                "{}: {} bytes, for the certification authority\n",
                output.display(),
                request.len()
            ))
        }
        IssuerCertCommand::Import { key, answer } => import(key, answer),
        IssuerCertCommand::Own { key, rid, index, expiry, authority } => {
            let mut desk = IssuerDesk::open(&key.store.keys)?;
            let public = desk.certify(key.key, AuthorityName { rid: *rid, index: *index }, *expiry)?;
            if let Some(path) = authority {
                write_output(path, format!("{:#}\n", authority_json(&public)).as_bytes())?;
            }
            let keys = desk.keys()?.into_iter().filter(|listed| listed.name == key.key);
            print(&keys.collect::<Vec<_>>())
        }
        IssuerCertCommand::List { store } => print(&IssuerDesk::open(&store.keys)?.keys()?),
    }
    .map(|()| Exit::Ok)
}

fn import(key: &IssuerKeyArg, path: &Path) -> Result<(), Failure> {
    let (installed, checksum) = IssuerDesk::open(&key.store.keys)?.import(key.key, path)?;
    print(&[installed])?;
    stdout::print(&format!(
        "the authority's key has the checksum {checksum}: compare it with the one that the authority publishes\n"
    ))
}

/// An authority's public key as terminals read it.
fn authority_json(key: &AuthorityKey) -> serde_json::Value {
    serde_json::json!({
        "rid": hex::encode_upper(key.name.rid),
        "index": hex::encode_upper([key.name.index]),
        "modulus": hex::encode_upper(&key.modulus),
        "exponent": hex::encode_upper(exponent_bytes(key.exponent)),
        "checksum": checksum(key),
    })
}

fn print(keys: &[IssuerKeyInfo]) -> Result<(), Failure> {
    let mut out = Vec::new();
    let listed = keys.iter().try_for_each(|key| {
        let name = issuer_key_name(key.name);
        let bits = key.modulus.len() * 8;
        write!(out, "{name}  RSA {bits}, exponent {}  TEST  ", key.exponent)?;
        match &key.certificate {
            None => writeln!(out, "no certificate"),
            Some(certificate) => {
                let rid = hex::encode_upper(certificate.authority.rid);
                let index = hex::encode_upper([certificate.authority.index]);
                let serial = hex::encode_upper(certificate.serial);
                let expiry = MonthYear::from_bcd(certificate.expiry).map(|month| month.to_string());
                let expiry = expiry.unwrap_or_default();
                writeln!(out, "certificate {serial} of {rid} key {index}, valid to {expiry}")
            }
        }
    });
    listed.map_err(|e| Failure::new(Exit::Io, format!("us: cannot print: {e}")))?;
    stdout::print(&String::from_utf8_lossy(&out))
}
