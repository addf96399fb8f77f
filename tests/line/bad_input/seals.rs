//! Files with a wrong digest or Trailer MAC, and files that name wrong keys.

use cardwright::exit::Exit;

use super::chip::{Chip, PAYMENT, PURSE};
use super::file::File;
use super::{Bureau, Ends, good, pieces};

const MISMATCH: Ends = Ends { run: Exit::KeyMismatch, inspect: [Exit::StructureOnly, Exit::KeyMismatch] };

/// The file with a change, but with the digest and MAC that it had before.
fn unsealed(change: impl FnOnce(&mut File)) -> Vec<u8> {
    let mut file = pieces();
    change(&mut file);
    file.bytes()
}

fn sealed(change: impl FnOnce(&mut File)) -> Vec<u8> {
    let mut file = pieces();
    change(&mut file);
    file.sealed()
}

#[test]
fn wrong_digest() {
    let bureau = Bureau::new();
    let ends = Ends::alike(Exit::FileDigest);
    let says = &["file: byte ", "the digest is wrong", "ask the issuer"];
    bureau.refuses(&unsealed(|f| f.trailer.digest[31] ^= 1), ends, says);
    bureau.refuses(&unsealed(|f| f.trailer.digest.fill(0)), ends, says);
    bureau.refuses(&unsealed(|f| f.created ^= 1), ends, says);
    // The last character of an embossed line, before its CR LF.
    let character = |f: &mut File| *f.records[2].section("EMB").iter_mut().nth_back(2).unwrap() ^= 1;
    bureau.refuses(&unsealed(character), ends, says);
    bureau.refuses(&unsealed(|f| f.records.iter_mut().for_each(|r| r.sections.swap(0, 1))), ends, says);
    bureau.still_accepts_the_good_file();
}

#[test]
fn wrong_trailer_mac() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileMac, inspect: [Exit::StructureOnly, Exit::FileMac] };
    let says = &["file: the Trailer's MAC is wrong", "ask the issuer"];
    bureau.refuses(&unsealed(|f| f.trailer.mac[0] ^= 0x80), ends, says);
    bureau.refuses(&unsealed(|f| f.trailer.mac[15] ^= 1), ends, says);
    bureau.refuses(&unsealed(|f| f.trailer.mac.fill(0)), ends, says);
    // The wrapped key of the MAC: a bit of its padding, then bits of the key itself.
    bureau.refuses(&unsealed(|f| f.trailer.wrapped[31] ^= 1), ends, says);
    bureau.refuses(&unsealed(|f| f.trailer.wrapped[0] ^= 1), ends, says);
    // Another wrapped key of the file: every purpose has its own TK, so it does not open here.
    let application =
        |f: &mut File| f.forge_chip(0, |chip: &mut Chip| chip.application(PAYMENT).wrapped.clone());
    bureau.refuses(&unsealed(|f| f.trailer.wrapped = application(f)), ends, says);
    // A forger without the key has made the digest right again.
    let mut forged = pieces();
    forged.created += 1;
    bureau.refuses(&forged.digested(), ends, says);
    bureau.still_accepts_the_good_file();
}

#[test]
fn unknown_kek() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::KeyUnknown, inspect: [Exit::StructureOnly, Exit::KeyUnknown] };
    let says = "key: KEK 476173FF09 is not in the key store; import it, or ask the issuer";
    bureau.refuses(&unsealed(|f| f.trailer.kek[4] = 9), ends, &[says]);
    let of_an_application = sealed(|f| f.forge_chip(1, |chip| chip.application(PURSE).tk[5] = 9));
    bureau.refuses(&of_an_application, ends, &[says, "record 2, byte "]);
    bureau.still_accepts_the_good_file();
}

#[test]
fn wrong_kek_kcv() {
    let bureau = Bureau::new();
    let says = &["key: KEK 476173FF01 ", "KCV", "with the issuer"];
    bureau.refuses(&sealed(|f| f.trailer.kcv[2] ^= 1), MISMATCH, says);
    bureau.refuses(&sealed(|f| f.trailer.kcv = vec![0; 3]), MISMATCH, says);
    bureau.still_accepts_the_good_file();
}

#[test]
fn a_kek_of_another_type_or_issuer() {
    let bureau = Bureau::new();
    let of_type = &["key: KEK 476173FF01 is of TYPEtk 42, the file says 41", "with the issuer"];
    bureau.refuses(&sealed(|f| f.trailer.tk_type = 0x41), MISMATCH, of_type);
    let application = sealed(|f| f.forge_chip(0, |chip| chip.application(PURSE).tk[6] = 0x41));
    bureau.refuses(&application, MISMATCH, of_type);
    let mut of_another = pieces();
    of_another.issuer_id = "OTHERBANK".into();
    let of_issuer = &["key: KEK 476173FF01 belongs to another issuer", "ask the issuer"];
    bureau.refuses(&of_another.digested(), MISMATCH, of_issuer);
    bureau.still_accepts_the_good_file();
}

/// No blank could become a card of these files: the run would throw out one after the other.
#[test]
fn no_kmc_for_the_cards() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::KeyUnknown, inspect: [Exit::StructureOnly, Exit::Ok] };
    let keys = |list: &str, kept: &dyn Fn(&str) -> bool| {
        list.split("[[key]]").filter(|key| kept(key)).collect::<Vec<_>>().join("[[key]]")
    };
    let says =
        ["key: the key store has no KMC for this card: KEK 476173FF01", "record 1, byte ", "import a KMC"];
    bureau.world.change_keys(|list| keys(list, &|key| !key.contains("\"KMC\"")));
    bureau.refuses(
        &good().bytes,
        ends,
        &[&says[..], &["needs one of type TDES2; the store has no KMC;"]].concat(),
    );
    // The store has the blanks' KMCs, but their secrets may go to others alone.
    bureau.world.change_keys(|list| list.replace("allow = [", "allow = [\"FFFFFF999999:7\"] # "));
    let held = "allows FFFFFF999999:7; SCP02 of product multiapp needs one of type TDES2; the store has FFFFFF476173:1";
    bureau.refuses(&good().bytes, ends, &[&says[..], &[held]].concat());
    bureau.world.change_keys(str::to_owned);
    bureau.still_accepts_the_good_file();
}
