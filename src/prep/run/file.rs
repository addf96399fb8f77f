//! Header and Trailer of the output file.
//!
//! Not here: the records (`maker`), the layout (`record`).

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::PrepRunArgs;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{Issuer, KekInfo, TrailerToProtect};
use crate::ids::FileId;
use crate::prep::fill_random;
use crate::prep::unfinished::UnfinishedFile;
use crate::profile::ProductProfile;
use crate::record::{Cwf1Writer, FileKind, Header, TrailerKey, TrailerMac};

/// The Header of a file with this number of records.
pub(super) fn header(
    args: &PrepRunArgs,
    product: &ProductProfile,
    kek: &KekInfo,
    records: u32,
    earlier: Option<&UnfinishedFile>,
) -> Result<Header, Failure> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let created = args.created.unwrap_or_else(now);
    let kept = earlier.map(|earlier| earlier.header.file_id.as_str());
    if let (Some(kept), Some(wanted)) = (kept, &args.file_id)
        && kept != wanted
    {
        let what =
            format!("--file-id: the unfinished file is {kept}, which every pass keeps; leave --file-id out");
        return Err(Failure::new(Exit::Usage, what));
    }
    let file_id = match (kept, &args.file_id) {
        (Some(kept), _) => kept.to_owned(),
        (None, Some(name)) => name.clone(),
        (None, None) => {
            let mut random = [0u8; 4];
            fill_random(&mut random)?;
            format!("{}-{created}-{}", kek.issuer_id, hex::encode(random))
        }
    };
    let file_id =
        FileId::new(file_id).map_err(|e| Failure::new(Exit::Usage, format!("--file-id: the name {e}")))?;
    let kind = if args.unfinished { FileKind::Unfinished } else { FileKind::Finished };
    Ok(Header {
        kind,
        file_id,
        issuer_id: kek.issuer_id.clone(),
        product: product.name.clone(),
        created,
        records,
    })
}

/// Has the HSM MAC the Trailer. Returns digest and length of the file.
pub(in crate::prep) fn finish<W: Write>(
    writer: Cwf1Writer<W>,
    kek: &KekInfo,
    header: &Header,
    hsm: &mut HsmClient,
) -> Result<([u8; 32], u64), Failure> {
    let key = TrailerKey { kek: kek.id, tk_type: kek.tk_type, kcv: kek.kcv };
    let finished = writer.finish(key, |head| {
        let (issuer_id, file_id) = (header.issuer_id.clone(), header.file_id.clone());
        let end = hsm.protect_trailer(&TrailerToProtect {
            kind: header.kind,
            kek: kek.id,
            issuer_id,
            file_id,
            head,
        })?;
        Ok::<_, Failure>(TrailerMac { wrapped_mac_key: end.wrapped_mac_key, mac: end.mac })
    })?;
    Ok((finished.digest, finished.length))
}
