//! Reads the file of a cardholder's photo.
//!
//! It is read once, when the card is built, and gets the check of acceptance at the bureau
//! (`picture::check`). Not here: decoding it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::{files, picture};

/// Reads the file that a line names. The error never quotes the name of the file, which is often a person's
/// name.
pub fn read(folder: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let path = folder.join(name);
    let cannot = |e: std::io::Error| format!("the file cannot be read: {}", files::trouble(&e));
    // Checked before the file is opened, because opening a pipe would wait for ever.
    let is = std::fs::metadata(&path).map_err(cannot)?;
    if !is.is_file() {
        return Err("is no regular file".into());
    }
    let length = usize::try_from(is.len()).unwrap_or(usize::MAX);
    if length > picture::BYTES_MAX {
        return Err(format!("the file is longer than {} KiB", picture::BYTES_MAX >> 10));
    }
    // Room for one more byte, which would show that the file grew.
    let mut data: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(length + 1));
    let file = File::open(&path).map_err(cannot)?;
    file.take(is.len() + 1).read_to_end(&mut data).map_err(cannot)?;
    if data.len() != length {
        return Err("the file changed while it was read".into());
    }
    picture::check(&data).map_err(|what| format!("the file {what}"))?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHOTO: &[u8] = include_bytes!("../picture/samples/baseline.jpg");

    #[test]
    fn a_photo_is_read_as_it_is_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, data: &[u8]| std::fs::write(folder.path().join(name), data).unwrap();
        put("good.jpg", PHOTO);
        assert_eq!(**read(folder.path(), "good.jpg").as_ref().unwrap(), *PHOTO);
        put("SECRET-text", b"no picture");
        put("SECRET-cut", &PHOTO[..400]);
        put("SECRET-long", &[PHOTO, &vec![0; picture::BYTES_MAX]].concat());
        std::fs::create_dir(folder.path().join("SECRET-folder")).unwrap();
        for (name, why) in [
            ("SECRET-text", "neither PNG nor JPEG"),
            ("SECRET-cut", "cut short"),
            ("SECRET-long", "longer than"),
            ("SECRET-folder", "no regular file"),
            ("SECRET-missing", "cannot be read"),
        ] {
            let error = read(folder.path(), name).unwrap_err();
            assert!(error.contains(why) && !error.contains("SECRET"), "{error}");
        }
    }
}
