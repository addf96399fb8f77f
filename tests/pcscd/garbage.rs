//! A program other than pcscd at pcscd's socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use drivers::host::{HostReader, HostSpec, HostedDevice};
use drivers::link::{CardError, CardLink, LinkError};
use drivers::pcsc::{ReaderSelector, ReaderSpec};

use crate::LONG;

/// More bytes than any answer of pcscd has.
const ANSWER: usize = 65_536;

#[test]
fn another_program_at_the_socket_is_a_fault_that_names_reader_and_socket() {
    for byte in [0xAA, 0xFF, 0x7F, 0x01] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("pcscd.comm");
        let listener = UnixListener::bind(&socket).unwrap();
        // This thread runs until the tests end.
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut question = [0; 4096];
                while stream.read(&mut question).is_ok_and(|n| n > 0)
                    && stream.write_all(&[byte; ANSWER]).is_ok()
                {}
            }
        });
        let said = folder.path().join("said");
        let host = format!("exec {} station-host 2>>{}", env!("CARGO_BIN_EXE_cardwright"), said.display());
        let mut reader = HostReader::new(HostSpec {
            program: "sh".into(),
            arguments: vec!["-c".into(), host.into()],
            pcscd: Some(socket.clone()),
            device: HostedDevice::Reader(ReaderSpec {
                by: ReaderSelector::Name("Omni 9".into()),
                slot: 0,
                wait_ms: 0,
            }),
        });
        for outcome in [reader.reopen(LONG), reader.probe(LONG)] {
            let Err(CardError::Reader(LinkError::Io(text))) = outcome else {
                panic!("{byte:02X}: {outcome:?}")
            };
            assert!(text.contains("\"Omni 9\", slot 0") && text.contains(socket.to_str().unwrap()), "{text}");
        }
        // One line each time, and no output of the panic itself.
        let said = fs::read_to_string(said).unwrap();
        assert!(
            said.lines().count() == 2 && !said.contains("panicked") && !said.contains("BACKTRACE"),
            "{said}"
        );
    }
}
