//! The connections of a line to an HSM host, which together are an HSM: each does what its role may.

use cardwright::hsm::client::HsmClient;
use cardwright::hsm::{
    CallerRole, CardSession, CardSessionRequest, Hsm, HsmDoor, HsmError, HsmInfo, RecordHandle,
    RecordToVerify, TrailerRequest, VerifiedRecord,
};
use cardwright::scp::{HostChallenge, SecureChannelSpec};

pub struct LineCallers {
    source: HsmClient,
    station: HsmClient,
    check: HsmClient,
}

impl LineCallers {
    pub fn connect(door: &HsmDoor) -> Self {
        let connected = |role| HsmClient::connect(door, role).unwrap();
        Self {
            source: connected(CallerRole::Source),
            station: connected(CallerRole::Station),
            check: connected(CallerRole::Check),
        }
    }
}

impl Hsm for LineCallers {
    fn info(&mut self) -> Result<HsmInfo, HsmError> {
        self.check.info()
    }

    fn verify_trailer(&mut self, request: &TrailerRequest) -> Result<(), HsmError> {
        self.check.verify_trailer(request)
    }

    fn verify_record(&mut self, record: &RecordToVerify) -> Result<VerifiedRecord, HsmError> {
        self.source.verify_record(record)
    }

    fn draw_challenge(&mut self, channel: SecureChannelSpec) -> Result<HostChallenge, HsmError> {
        self.station.draw_challenge(channel)
    }

    fn session(&mut self, request: &CardSessionRequest) -> Result<CardSession, HsmError> {
        self.station.session(request)
    }

    fn release(&mut self, handles: &[RecordHandle]) -> Result<(), HsmError> {
        self.source.release(handles)
    }
}
