//! What a run prints: the names of the file and of its key, its length and digest.
//!
//! Not here: the report of a preparation.

use std::io::Write;

use super::PrepRunArgs;
use crate::hsm::KekInfo;
use crate::prep::allow::AllowedKind;
use crate::prep::keys::{kek_name, kek_type};
use crate::prep::unfinished::UnfinishedFile;
use crate::record::Header;
use crate::report::counted;

/// Prints the summary, as text or JSON.
pub(super) fn summary(
    args: &PrepRunArgs,
    header: &Header,
    kek: &KekInfo,
    earlier: Option<&UnfinishedFile>,
    (digest, length): ([u8; 32], u64),
    taken: &[(AllowedKind, u32, &str)],
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let id = kek_name(kek.id);
    let digest = hex::encode(digest);
    let from = earlier.map(|earlier| hex::encode(earlier.digest));
    if args.json {
        let taken = taken.iter().map(|(rule, cards, reason)| {
            serde_json::json!({ "rule": rule.word(), "cards": cards, "reason": reason })
        });
        let document = serde_json::json!({
            "output": args.output.display().to_string(),
            "file_id": header.file_id,
            "issuer_id": header.issuer_id,
            "product": header.product,
            "unfinished": args.unfinished,
            "from_sha256": from,
            "created": header.created,
            "records": header.records,
            "bytes": length,
            "sha256": digest,
            "allowed": taken.collect::<Vec<_>>(),
            "kek": { "id": id, "type": kek_type(kek), "tk_type": kek.tk_type, "kcv": kek.kcv },
        });
        return writeln!(out, "{document:#}");
    }
    writeln!(out, "{}: {} of {}", args.output.display(), counted(header.records, "card"), header.product)?;
    if args.unfinished {
        writeln!(out, "UNFINISHED: for another pass; a bureau refuses it")?;
    }
    writeln!(out, "file_id    {}", header.file_id)?;
    writeln!(out, "issuer_id  {}", header.issuer_id)?;
    if let Some(from) = from {
        writeln!(out, "from       the unfinished file with SHA-256 {from}")?;
    }
    writeln!(out, "KEK        {id} {} KCV {}", kek_type(kek), kek.kcv)?;
    for (rule, cards, reason) in taken {
        writeln!(out, "allowed    {}: {}: {reason}", rule.word(), counted(*cards, "card"))?;
    }
    writeln!(out, "bytes      {length}")?;
    writeln!(out, "SHA-256    {digest}")
}
