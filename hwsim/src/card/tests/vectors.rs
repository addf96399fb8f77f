//! Known answers from outside: GlobalPlatformPro, pySim, kaoh/globalplatform, a worked example, OpenSSL.

use super::super::apdu::CardCommand;
use super::super::channel::{CardChannel, CardSessionKeys, OpeningChannel, SupplierKeys};
use super::super::tdes::{self, DoubleLengthKey};
use super::*;

fn key(text: &str) -> DoubleLengthKey {
    TestHost::clear_key(text)
}

fn kcv(key: &DoubleLengthKey) -> String {
    hex::encode_upper(tdes::kcv(key))
}

#[test]
fn gppro_test_plaintext_keys_emv_derivation() {
    let keys = SupplierKeys::from_kmc(&KMC, hex("00010203040506070809").first_chunk().unwrap());
    for (have, value, check) in [
        (&keys.enc, "0EF59FCBF8019B62E62AF6EA20B8BF25", "C33013"),
        (&keys.mac, "3E383EB6F2762B88155F76BDFED05A02", "6F4CA6"),
        (&keys.dek, "64021E43C0C7D264A1C7C6D01E1C8761", "BB8179"),
    ] {
        assert_eq!(hex::encode_upper(have), value);
        assert_eq!(kcv(have), check);
    }
    assert_eq!(kcv(&KMC), "8BAF47");
}

#[test]
fn pbocjs_kcvs_of_dgi_8000() {
    let keys = [
        ("11223344006677881122334455007788", "97DCB0"),
        ("8B4F854F0831FBF2635A212E4DDDB92A", "CE4E2C"),
        ("11220044556677881122330055667788", "B37DF3"),
    ];
    for (value, check) in keys {
        assert_eq!(kcv(&key(value)), check);
    }
}

#[test]
fn gppro_session_key_kcvs_of_sequence_0000() {
    let card_keys = SupplierKeys { enc: KMC, mac: KMC, dek: KMC };
    let session = CardSessionKeys::derive(&card_keys, 0);
    assert_eq!([&session.enc, &session.mac, &session.dek].map(kcv), ["F2DCDD", "5FCC69", "85272E"]);
}

#[test]
fn padding_is_80_00_within_the_last_block() {
    assert_eq!(tdes::unpad(&hex("0102030405060780")), Some(&hex("01020304050607")[..]));
    assert_eq!(tdes::unpad(&hex("8000000000000000")), Some(&[][..]));
    for wrong in
        ["", "00", "80", "0000000000000000", "0102030405060708", "018000", "80000000000000000000000000000000"]
    {
        assert_eq!(tdes::unpad(&hex(wrong)), None, "{wrong}");
    }
}

/// A published SCP02 vector (pySim, kaoh/globalplatform): card keys, host challenge, response, the session
/// keys, EXTERNAL AUTHENTICATE, and wrapped commands with the data that they carry.
struct Vector<'a> {
    keys: [&'a str; 3],
    challenge: &'a str,
    response: &'a str,
    session: [&'a str; 3],
    authenticate: &'a str,
    commands: &'a [(&'a str, &'a str)],
}

fn open(vector: &Vector<'_>) -> CardChannel {
    let [enc, mac, dek] = vector.keys.map(key);
    let response = hex(vector.response);
    let sequence = u16::from_be_bytes([response[12], response[13]]);
    let session = CardSessionKeys::derive(&SupplierKeys { enc, mac, dek }, sequence);
    assert_eq!([&session.enc, &session.mac, &session.dek].map(hex::encode_upper), vector.session);
    let challenge = response[14..20].try_into().unwrap();
    let host = hex(vector.challenge).try_into().unwrap();
    let (opening, cryptogram) = OpeningChannel::new(session, 0x15, sequence, challenge, host);
    assert_eq!(response[20..], cryptogram);
    let command = CardCommand::parse(&hex(vector.authenticate)).ok().unwrap();
    opening.authenticate(&command).ok().unwrap()
}

fn check(vector: &Vector<'_>) {
    let mut channel = open(vector);
    for (wrapped, clear) in vector.commands {
        let command = channel.unwrap(CardCommand::parse(&hex(wrapped)).ok().unwrap()).ok().unwrap();
        assert_eq!(hex::encode_upper(&command.data), *clear, "{wrapped}");
    }
    // Each of the commands with one wrong bit in its MAC, header or data.
    for n in 0..vector.commands.len() {
        let length = hex(vector.commands[n].0).len();
        for at in (2..4).chain(5..length - 1) {
            let mut channel = open(vector);
            for (wrapped, _) in &vector.commands[..n] {
                channel.unwrap(CardCommand::parse(&hex(wrapped)).ok().unwrap()).ok().unwrap();
            }
            let mut bad = hex(vector.commands[n].0);
            bad[at] ^= 0x01;
            assert!(channel.unwrap(CardCommand::parse(&bad).ok().unwrap()).is_err(), "{n} byte {at}");
        }
    }
}

#[test]
fn pysim_scp02_level_01() {
    check(&Vector {
        keys: [
            "100102030405060708090A0B0C0D0E0F",
            "101102030405060708090A0B0C0D0E0F",
            "102102030405060708090A0B0C0D0E0F",
        ],
        challenge: "40A62C37FA6304F8",
        response: "00000000000000000000700200016B4524ABEE7CF32EA3838BC148F3",
        session: [
            "1BA074B31F72A6C44FE8F5D9AFE4DA2F",
            "29A69328E60494982632039DDD47A2F1",
            "511DB767812597722109C867F9D7257A",
        ],
        authenticate: "8482010010BA6961667737C5BCEBECE14C7D6A4376",
        commands: &[
            ("84F220020814DB34FA4341DCA8", ""),
            ("84CA00660855ED7C5FF069512B00", ""),
            ("84F22002124F0212345C054F9F70C58FC1B380C4228AF8", "4F0212345C054F9F70C5"),
            ("84F280020A4F003B95F09317DE6A4E00", "4F00"),
        ],
    });
}

#[test]
fn kaoh_scp02_i15_level_01() {
    check(&Vector {
        keys: ["404142434445464748494A4B4C4D4E4F"; 3],
        challenge: "D5AD539A60CA5E72",
        response: "000074746E6E6E6262620102069FAA2A0591E73367DD78794D04315E",
        session: [
            "A7E638E94A6AEC1AB596BA9E46FF2B7F",
            "3D19A0E1F74FFE5260157E1E150AC67E",
            "60B7A058C8A743A2D5AC7310EE1A36A7",
        ],
        authenticate: "84820100107C799B3C771DBAE6BEF49310977617BA",
        commands: &[("84F220020A4F00BB6E71C0EFCFCF0D00", "4F00")],
    });
}

#[test]
fn kaoh_scp02_i15_level_03() {
    check(&Vector {
        keys: ["404142434445464748494A4B4C4D4E4F"; 3],
        challenge: "EBAA9E53C696281B",
        response: "000074746E6E6E626262010206A15086BBEE58F467149061DA4B6EAE",
        session: [
            "590D31AD3295B85CD5F8056246F03212",
            "964CD624B47829AAB6C4BEF65827CEC7",
            "B035339904B1478F86764BBFC6CEE06B",
        ],
        authenticate: "848203001005814C116071EB67D8BA9D9879454564",
        commands: &[
            ("84E4008018BC146FA0403BE4BAD3BC089E4ABD8674DA7EFEA21047B85800", "4F08D0D1D2D3D4D50101"),
            ("84E4008018C2748C1669FAFC0E20C5253680388A4A49C9A6038D77B45700", "4F07D0D1D2D3D4D501"),
        ],
    });
}

/// Sends the worked example byte for byte through `transmit`.
fn worked_example(commands: &[&str]) {
    let mut card = example_card();
    select(&mut card, PAYMENT);
    assert_eq!(
        send(&mut card, "8050010008010203040506070800"),
        ("FFFFFF4761730102030401020001112233445566AB20563DD039E65D".into(), 0x9000)
    );
    for (n, command) in commands.iter().enumerate() {
        assert_eq!(dump(&card, PAYMENT).0, "SELECTABLE");
        assert_eq!(send(&mut card, command), (String::new(), 0x9000), "command {n}");
    }
    let (state, dgis) = dump(&card, PAYMENT);
    assert_eq!(state, "PERSONALIZED");
    assert_eq!(
        dgis,
        serde_json::json!({ "0101": RECORD, "8000": UDKS, "8205": CRT_PADDED, "9000": UDK_KCVS })
    );
    assert_eq!((card.sequence, card.writes()), (2, 4));
}

#[test]
fn worked_example_level_00() {
    worked_example(&[
        "848200001083AE7D21F8B4BB7194A81D14E65A6EBE",
        "80E2000013010110700E5A0847617390010101195F340101",
        "80E2600133800030C522B2E5BFAEB854E1BFB0BC2A156D5C9FE53010CCF78203104BB6888E4E5447C858ED7ABECDEA52653A49B12010405A",
        "80E260022B820528925431CF8C04B48C8885FF689C40061BCB4FD6231CB07485856CCEB240C298B296D86A0960F5614B",
        "80E280030C90000908D7B44915107B217F",
    ]);
}

#[test]
fn worked_example_level_01() {
    worked_example(&[
        "848201001083AE7D21F8B4BB71AB4DF86F37430CA8",
        "84E200001B010110700E5A0847617390010101195F3401014A17288F44815ECC",
        "84E260013B800030C522B2E5BFAEB854E1BFB0BC2A156D5C9FE53010CCF78203104BB6888E4E5447C858ED7ABECDEA52653A49B12010405ADE0E6808640CBD85",
        "84E2600233820528925431CF8C04B48C8885FF689C40061BCB4FD6231CB07485856CCEB240C298B296D86A0960F5614BB322125404F7E7DC",
        "84E280031490000908D7B44915107B217F3846297259854B2A",
    ]);
}

#[test]
fn worked_example_level_03() {
    worked_example(&[
        "848203001083AE7D21F8B4BB7189021DA8C478843F",
        "84E20000200A38775B0446B6B76F3C02B3D32B133A8E99059952C3B14DB2263B95C98C1388",
        "84E260014089A4DC70A4B5E10171EC59711A03D0F3DBB1FD3F0FB6F5DBF4AD0796A45F7AEE42A98D8274FB8597B5D10FBC67FAA05C7E8554D0A428A592FB84AB98CFC404DE",
        "84E2600238DC61867564858314EEA59C381E95A8AA40DE71D1BE49E67E3691D8C84F39FCC82243A158BA35E0575EEDC72DC983A072D5CD14868B385BDD",
        "84E280031887556851B34EB8C6286D00E371BD7C19723E1FA9ED97BA25",
    ]);
}

/// The retail MACs of the AIDs under SKU_MAC of the worked example, computed with `openssl enc -des-ede`
/// (3.0).
#[test]
fn openssl_pseudo_random_card_challenge_of_i55() {
    for (aid, challenge) in
        [("A000000003000000", "451F2A25C987"), (PAYMENT, "5D533DFC7115"), (PSE, "87874F55D9DD")]
    {
        let mut card = card();
        card.sequence = 1;
        select(&mut card, aid);
        let (first, _) = send(&mut card, "8050010008010203040506070800");
        assert_eq!(first[24..40], format!("0001{challenge}"), "{aid}");
        // The challenge depends on the counter, which has not changed, and not on the host's challenge.
        let (second, _) = send(&mut card, "8050010008FFFFFFFFFFFFFFFF00");
        assert_eq!(second[..40], first[..40]);
        assert_ne!(second[40..], first[40..]);
    }
}
