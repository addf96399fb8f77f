//! SCP02 against vectors of pySim, kaoh's globalplatform and GPPro, and against a session worked by hand from EMV CPS 1.1
//! and GPCS Annex E, byte for byte.

use proptest::prelude::*;

use super::super::answer::AnswerError;
use super::super::{ChannelSession, KeyDerivation, PendingChannel, SecureChannel, SecureChannelSpec};
use super::keys::{derivation_data, session_key};
use super::*;
use crate::crypto::{CipherKey, TdesKey};
use crate::ids::KeyData;

fn bytes(hex_digits: &str) -> Vec<u8> {
    hex::decode(hex_digits).unwrap()
}

fn key(hex_digits: &str) -> CipherKey {
    CipherKey::tdes(&bytes(hex_digits)).unwrap()
}

fn channel() -> SecureChannel {
    SecureChannel::new(SecureChannelSpec { protocol: 2, parameter: 0x15, key_version: 0 }).unwrap()
}

/// The keys in memory: S-ENC, S-MAC, DEK.
fn shown(keys: Scp02Keys) -> [String; 3] {
    match keys {
        Scp02Keys::Memory { enc, mac, dek } => [enc, mac, dek].map(|key| hex_of(&key)),
        Scp02Keys::Token(_) => panic!(),
    }
}

fn hex_of(key: &TdesKey) -> String {
    hex::encode_upper(key.expose())
}

const GP_KEY: &str = "404142434445464748494A4B4C4D4E4F";

fn gp_keys() -> CardStaticKeys {
    CardStaticKeys::new(key(GP_KEY), key(GP_KEY), key(GP_KEY))
}

fn pysim_keys() -> CardStaticKeys {
    CardStaticKeys::new(
        key("100102030405060708090A0B0C0D0E0F"),
        key("101102030405060708090A0B0C0D0E0F"),
        key("102102030405060708090A0B0C0D0E0F"),
    )
}

fn cps_keys() -> CardStaticKeys {
    let key_data = KeyData::from_hex("FFFFFF47617301020304").unwrap();
    CardStaticKeys::derive(KeyDerivation::EmvCps, &key(GP_KEY), &key_data).unwrap()
}

fn read(answer: &[u8]) -> Result<InitializeUpdateAnswer, AnswerError> {
    channel().read_answer(answer)
}

fn challenge(hex_digits: &str) -> HostChallenge {
    HostChallenge::new(bytes(hex_digits))
}

fn pending(keys: &CardStaticKeys, host: &str, answer: &str) -> Scp02Pending {
    Scp02Pending::new(keys, &read(&bytes(answer)).unwrap(), &challenge(host)).unwrap()
}

fn opened(keys: &CardStaticKeys, host: &str, answer: &str) -> PendingChannel {
    channel().open_with(keys, &read(&bytes(answer)).unwrap(), &challenge(host)).unwrap()
}

/// A vector's command `CLA INS P1 P2 Lc data [Le]` wrapped, with the Le that the vector has.
fn wrap(session: &mut ChannelSession, command: &str, le: &str) -> String {
    let command = bytes(command);
    let data = command.get(5..).unwrap_or_default();
    let data = &data[..usize::from(*command.get(4).unwrap_or(&0)).min(data.len())];
    hex::encode_upper(session.wrap([command[1], command[2], command[3]], data).unwrap()) + le
}

const PYSIM: (&str, &str) = ("40A62C37FA6304F8", "00000000000000000000700200016B4524ABEE7CF32EA3838BC148F3");
const KAOH_01: (&str, &str) =
    ("D5AD539A60CA5E72", "000074746E6E6E6262620102069FAA2A0591E73367DD78794D04315E");
const KAOH_03: (&str, &str) =
    ("EBAA9E53C696281B", "000074746E6E6E626262010206A15086BBEE58F467149061DA4B6EAE");
const CPS: (&str, &str) = ("0102030405060708", "FFFFFF4761730102030401020001112233445566AB20563DD039E65D");

#[test]
fn a_pysim_session_keys() {
    let keys = shown(pending(&pysim_keys(), PYSIM.0, PYSIM.1).keys);
    assert_eq!(
        keys,
        [
            "1BA074B31F72A6C44FE8F5D9AFE4DA2F",
            "29A69328E60494982632039DDD47A2F1",
            "511DB767812597722109C867F9D7257A"
        ]
    );
}

#[test]
fn a_pysim_level_01() {
    let (mut session, first) =
        opened(&pysim_keys(), PYSIM.0, PYSIM.1).verify().unwrap().authenticate(SecLevel::Mac).unwrap();
    assert_eq!(hex::encode_upper(first), "8482010010BA6961667737C5BCEBECE14C7D6A4376");
    assert_eq!(wrap(&mut session, "80F22002", ""), "84F220020814DB34FA4341DCA8");
    assert_eq!(wrap(&mut session, "80CA006600", "00"), "84CA00660855ED7C5FF069512B00");
    assert_eq!(
        wrap(&mut session, "80F220020A4F0212345C054F9F70C5", ""),
        "84F22002124F0212345C054F9F70C58FC1B380C4228AF8"
    );
    assert_eq!(wrap(&mut session, "80F28002024F0000", "00"), "84F280020A4F003B95F09317DE6A4E00");
}

#[test]
fn b_kaoh_i15_level_01() {
    let pending = pending(&gp_keys(), KAOH_01.0, KAOH_01.1);
    assert_eq!(
        shown(pending.keys),
        [
            "A7E638E94A6AEC1AB596BA9E46FF2B7F",
            "3D19A0E1F74FFE5260157E1E150AC67E",
            "60B7A058C8A743A2D5AC7310EE1A36A7"
        ]
    );
    let pending = opened(&gp_keys(), KAOH_01.0, KAOH_01.1);
    let (mut session, first) = pending.verify().unwrap().authenticate(SecLevel::Mac).unwrap();
    assert_eq!(hex::encode_upper(first), "84820100107C799B3C771DBAE6BEF49310977617BA");
    assert_eq!(wrap(&mut session, "80F22002024F0000", "00"), "84F220020A4F00BB6E71C0EFCFCF0D00");
}

#[test]
fn c_kaoh_i15_level_03() {
    let pending = pending(&gp_keys(), KAOH_03.0, KAOH_03.1);
    assert_eq!(
        shown(pending.keys),
        [
            "590D31AD3295B85CD5F8056246F03212",
            "964CD624B47829AAB6C4BEF65827CEC7",
            "B035339904B1478F86764BBFC6CEE06B"
        ]
    );
    let pending = opened(&gp_keys(), KAOH_03.0, KAOH_03.1);
    let (mut session, first) = pending.verify().unwrap().authenticate(SecLevel::MacEnc).unwrap();
    assert_eq!(hex::encode_upper(first), "848203001005814C116071EB67D8BA9D9879454564");
    assert_eq!(
        wrap(&mut session, "80E400800A4F08D0D1D2D3D4D5010100", "00"),
        "84E4008018BC146FA0403BE4BAD3BC089E4ABD8674DA7EFEA21047B85800"
    );
    assert_eq!(
        wrap(&mut session, "80E40080094F07D0D1D2D3D4D50100", "00"),
        "84E4008018C2748C1669FAFC0E20C5253680388A4A49C9A6038D77B45700"
    );
}

#[test]
fn d_gppro_session_key_kcvs() {
    let gp = TdesKey::new(bytes(GP_KEY).try_into().unwrap());
    let kcv =
        |constant| CipherKey::Tdes(session_key(&gp, derivation_data(constant, [0, 0]))).kcv().to_string();
    assert_eq!(kcv([0x01, 0x82]), "F2DCDD");
    assert_eq!(kcv([0x01, 0x01]), "5FCC69");
    assert_eq!(kcv([0x01, 0x81]), "85272E");
    assert_eq!(kcv([0x01, 0x02]), "9F749A", "the R-MAC key, which no level here uses");
}

/// Four STORE DATA, wrapped from their plain values.
fn worked_example(level: SecLevel) -> Vec<String> {
    let (mut session, first) =
        opened(&cps_keys(), CPS.0, CPS.1).verify().unwrap().authenticate(level).unwrap();
    let mut keys = bytes(
        "0123456789ABCDEFFEDCBA987654321011223344556677888877665544332211A1A2A3A4A5A6A7A8B1B2B3B4B5B6B7B8",
    );
    session.encrypt_secret(&mut keys).unwrap();
    let mut prime = bytes("00112233445566778899AABBCCDDEEFF0102030405060708090A0B0C0D0E0F1011");
    crate::crypto::pad_80(&mut prime, 8);
    session.encrypt_secret(&mut prime).unwrap();
    let mut all = vec![first];
    let mut store = |p1, p2, data: Vec<u8>| all.push(session.wrap([0xE2, p1, p2], &data).unwrap());
    store(0x00, 0, bytes("010110700E5A0847617390010101195F340101"));
    store(0x60, 1, [bytes("800030"), keys].concat());
    store(0x60, 2, [bytes("820528"), prime].concat());
    store(0x80, 3, bytes("90000908D7B44915107B217F"));
    all.into_iter().map(hex::encode_upper).collect()
}

#[test]
fn worked_cps_example_session_keys() {
    let pending = pending(&cps_keys(), CPS.0, CPS.1);
    assert_eq!(
        shown(pending.keys),
        [
            "724E01DC01968DE0D2D863888BBEC608",
            "EF0AFE1E2495D145D192F6C7726A38AA",
            "9118E7A554398AAF88699E3507B3ED8F"
        ]
    );
    assert_eq!(hex::encode_upper(pending.host), "83AE7D21F8B4BB71");
}

#[test]
fn worked_cps_example_level_00() {
    assert_eq!(
        worked_example(SecLevel::Authenticated),
        [
            "848200001083AE7D21F8B4BB7194A81D14E65A6EBE",
            "80E2000013010110700E5A0847617390010101195F340101",
            "80E2600133800030C522B2E5BFAEB854E1BFB0BC2A156D5C9FE53010CCF78203104BB6888E4E5447C858ED7ABECDEA5\
             2653A49B12010405A",
            "80E260022B820528925431CF8C04B48C8885FF689C40061BCB4FD6231CB07485856CCEB240C298B296D86A0960F5614B",
            "80E280030C90000908D7B44915107B217F",
        ]
    );
}

#[test]
fn worked_cps_example_level_01() {
    assert_eq!(
        worked_example(SecLevel::Mac),
        [
            "848201001083AE7D21F8B4BB71AB4DF86F37430CA8",
            "84E200001B010110700E5A0847617390010101195F3401014A17288F44815ECC",
            "84E260013B800030C522B2E5BFAEB854E1BFB0BC2A156D5C9FE53010CCF78203104BB6888E4E5447C858ED7ABECDEA5\
             2653A49B12010405ADE0E6808640CBD85",
            "84E2600233820528925431CF8C04B48C8885FF689C40061BCB4FD6231CB07485856CCEB240C298B296D86A0960F5614\
             BB322125404F7E7DC",
            "84E280031490000908D7B44915107B217F3846297259854B2A",
        ]
    );
}

#[test]
fn worked_cps_example_level_03() {
    assert_eq!(
        worked_example(SecLevel::MacEnc),
        [
            "848203001083AE7D21F8B4BB7189021DA8C478843F",
            "84E20000200A38775B0446B6B76F3C02B3D32B133A8E99059952C3B14DB2263B95C98C1388",
            "84E260014089A4DC70A4B5E10171EC59711A03D0F3DBB1FD3F0FB6F5DBF4AD0796A45F7AEE42A98D8274FB8597B5D10F\
             BC67FAA05C7E8554D0A428A592FB84AB98CFC404DE",
            "84E2600238DC61867564858314EEA59C381E95A8AA40DE71D1BE49E67E3691D8C84F39FCC82243A158BA35E0575EEDC7\
             2DC983A072D5CD14868B385BDD",
            "84E280031887556851B34EB8C6286D00E371BD7C19723E1FA9ED97BA25",
        ]
    );
}

#[test]
fn a_response_of_another_shape_is_refused() {
    let good = bytes(CPS.1);
    for wrong in [&good[..27], &[&good[..], &[0x90]].concat(), &[]] {
        assert_eq!(read(wrong), Err(AnswerError::Length { found: wrong.len(), wanted: 28 }));
    }
    for protocol in [0x00, 0x01, 0x03] {
        let mut other = good.clone();
        other[11] = protocol;
        assert_eq!(read(&other), Err(AnswerError::Protocol { found: protocol, wanted: 2 }));
    }
}

#[test]
fn a_wrong_host_challenge_or_key_is_a_wrong_cryptogram() {
    assert!(opened(&cps_keys(), "0102030405060709", CPS.1).verify().is_err());
    assert!(opened(&gp_keys(), CPS.0, CPS.1).verify().is_err());
}

#[test]
fn the_room_of_a_level_is_exactly_what_fits() {
    for (level, most) in [(SecLevel::Authenticated, 255), (SecLevel::Mac, 247), (SecLevel::MacEnc, 239)] {
        assert_eq!(channel().room(level), most);
        let (mut session, _) =
            opened(&cps_keys(), CPS.0, CPS.1).verify().unwrap().authenticate(level).unwrap();
        assert_eq!(session.wrap([0xE2, 0, 0], &vec![0; most + 1]), Err(CommandTooLong(most + 1).into()));
        let apdu = session.wrap([0xE2, 0, 0], &vec![0; most]).unwrap();
        assert_eq!(apdu.len(), 5 + usize::from(apdu[4]));
    }
}

proptest! {
    #[test]
    fn a_flipped_bit_of_sequence_challenge_or_cryptogram_is_noticed(place in 12usize..28, bit in 0u8..8) {
        let mut response = bytes(CPS.1);
        response[place] ^= 1 << bit;
        let answer = read(&response).unwrap();
        let pending = channel().open_with(&cps_keys(), &answer, &challenge(CPS.0)).unwrap();
        prop_assert!(pending.verify().is_err());
    }
}
