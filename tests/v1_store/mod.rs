//! Key stores of version 1 as the programs of then wrote them: a file with the key list, and files beside it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Writes a store of this side, and files beside it: the end of the name, and the lines as they are today.
pub fn write(path: &Path, side: &str, list: &str, beside: &[(&str, &str)]) {
    let first = format!("cardwright key store 1 TEST {side}");
    let digest = hex::encode(Sha256::digest(format!("{first}{list}")));
    private(path, &format!("{first}\n{digest}\n{list}"));
    for (end, lines) in beside {
        let lines = lines.replacen('\n', " TEST\n", 1);
        let text = format!("{lines}{}\n", hex::encode_upper(Sha256::digest(&lines)));
        private(&PathBuf::from(format!("{}-{end}", path.display())), &text);
    }
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
