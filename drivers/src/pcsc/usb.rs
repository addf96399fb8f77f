//! Finds the device at a USB path: the number of its bus and the device's number there, from sysfs.
//!
//! A path ("1-4.2": bus 1, port 4, port 2 of the hub there) does not depend on the order in which devices are
//! plugged in. The device's number does, so it is read again each time.

use std::path::Path;

use crate::link::CardError;
use crate::usb_port;

/// SCARD_ATTR_CHANNEL_ID of a USB reader: 0020 in the upper half, bus and device in the lower (PC/SC part 3,
/// 3.1.4).
const USB_CHANNEL: u32 = 0x0020_0000;

/// Returns the channel that a driver gives for the reader at this path; fails if nothing is plugged in there.
pub(super) fn channel(sysfs: &Path, path: &str) -> Result<u32, CardError> {
    let fault = |what: &str| CardError::NoReader(format!("USB path {path}: {what}"));
    // A path must not lead out of the folder.
    if !usb_port::is_path(path) {
        return Err(fault("is not written as 1-4.2"));
    }
    let device = sysfs.join("bus/usb/devices").join(path);
    let number = |file: &str| {
        let text = std::fs::read_to_string(device.join(file)).ok()?;
        text.trim().parse::<u8>().ok().map(u32::from)
    };
    match (number("busnum"), number("devnum")) {
        (Some(bus), Some(device)) => Ok(USB_CHANNEL | bus << 8 | device),
        _ => Err(fault("nothing is plugged in there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysfs(path: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("bus/usb/devices").join(path);
        std::fs::create_dir_all(&device).unwrap();
        for (name, text) in files {
            std::fs::write(device.join(name), text).unwrap();
        }
        root
    }

    #[test]
    fn the_channel_is_bus_and_device() {
        let root = sysfs("1-4.2", &[("busnum", "1\n"), ("devnum", "18\n")]);
        assert_eq!(channel(root.path(), "1-4.2"), Ok(0x0020_0112));
    }

    #[test]
    fn a_missing_device_is_named() {
        let root = sysfs("1-4.2", &[("busnum", "1\n"), ("devnum", "many\n")]);
        for path in ["1-4.2", "1-4", "9-1"] {
            let text = channel(root.path(), path).unwrap_err().to_string();
            assert!(text.contains(path) && text.contains("nothing is plugged in"), "{text}");
        }
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        let root = sysfs("1-1", &[("busnum", "1"), ("devnum", "2")]);
        for path in ["", "1", "../1-1", "1-1/..", "1-..", "usb1", "-1", "1-1 "] {
            let text = channel(root.path(), path).unwrap_err().to_string();
            assert!(text.contains("is not written as"), "{path}: {text}");
        }
    }
}
