//! Finds the serial port of the device that is plugged in at a USB path ("1-4.2": bus 1, port 4, port 2 of the
//! hub there). The port's own name (`ttyUSB0`) depends on the order in which devices were plugged in.

use std::path::{Path, PathBuf};

use crate::link::LinkError;

/// Begins a serial port that is named by its USB path: `usb:1-4.2`.
const BY_PATH: &str = "usb:";

/// Whether a text is a USB path.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with(|c: char| c.is_ascii_digit())
        && path.contains('-')
        && path.chars().all(|c| c.is_ascii_digit() || c == '-' || c == '.')
        && !path.contains("..")
}

/// The device file of a serial port: `port` itself, or the port at the USB path that it names.
pub(crate) fn device_file(port: &str, sysfs: &Path, dev: &Path) -> Result<PathBuf, LinkError> {
    let Some(path) = port.strip_prefix(BY_PATH) else { return Ok(port.into()) };
    let fault = |what: &str| LinkError::Io(format!("serial port {port}: {what}"));
    if !is_path(path) {
        return Err(fault("is not written as usb:1-4.2"));
    }
    let mut found = ports(&sysfs.join("bus/usb/devices"), path);
    found.sort();
    match found.as_slice() {
        [] => Err(fault("no serial port is plugged in there")),
        [name] => Ok(dev.join(name)),
        several => Err(fault(&format!("it has {} ports; name one of them by its path", several.len()))),
    }
}

/// The names of the ports of every interface of a device: `<path>:1.0/ttyUSB0`, `<path>:1.0/tty/ttyACM0`.
fn ports(devices: &Path, path: &str) -> Vec<String> {
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let interface = format!("{path}:");
    let interfaces = names(devices).into_iter().filter(|name| name.starts_with(&interface));
    let ports = interfaces.flat_map(|name| {
        let folder = devices.join(name);
        [names(&folder), names(&folder.join("tty"))].concat()
    });
    ports.filter(|name| name.len() > "tty".len() && name.starts_with("tty")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sysfs with these folders under `bus/usb/devices`.
    fn sysfs(folders: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            std::fs::create_dir_all(root.path().join("bus/usb/devices").join(folder)).unwrap();
        }
        root
    }

    #[test]
    fn the_port_at_a_usb_path_is_found_whatever_its_name() {
        let root = sysfs(&["1-4.2:1.0/ttyUSB3", "1-4:1.0/ttyUSB0", "1-5:1.0/tty/ttyACM1", "1-5:1.1/net"]);
        let file = |port| device_file(port, root.path(), Path::new("/dev")).map_err(|e| e.to_string());
        assert_eq!(file("usb:1-4.2"), Ok("/dev/ttyUSB3".into()));
        assert_eq!(file("usb:1-4"), Ok("/dev/ttyUSB0".into()));
        assert_eq!(file("usb:1-5"), Ok("/dev/ttyACM1".into()));
        assert_eq!(file("/dev/ttyS0"), Ok("/dev/ttyS0".into()));
        assert!(file("usb:1-6").unwrap_err().contains("no serial port is plugged in"));
    }

    #[test]
    fn a_device_with_several_ports_and_a_path_that_is_none_are_refused() {
        let root = sysfs(&["2-1:1.0/ttyUSB0", "2-1:1.1/ttyUSB1"]);
        let refused = |port| device_file(port, root.path(), Path::new("/dev")).unwrap_err().to_string();
        assert!(refused("usb:2-1").contains("2 ports"));
        for port in ["usb:", "usb:../1-1", "usb:1-1/..", "usb:usb1", "usb:1-.."] {
            assert!(refused(port).contains("is not written as"), "{port}");
        }
    }
}
