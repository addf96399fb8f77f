//! The card's side of T=0: ISO/IEC 7816-3, 12.2 and EMV Book 1, 9.3.1.2, by hand.

use super::*;

/// SELECT as a command TPDU of case 4.
const SELECT: &[u8] = &[0x00, 0xA4, 0x04, 0x00, 0x01, 0xAA];
/// READ RECORD with Le 00, of case 2.
const READ: &[u8] = &[0x00, 0xB2, 0x01, 0x0C, 0x00];

fn whole(bytes: usize) -> Vec<u8> {
    let mut answer: Vec<u8> = (0..bytes).map(|n| n.to_le_bytes()[0]).collect();
    answer.extend([0x90, 0x00]);
    answer
}

fn fetch(t0: &mut T0Delivery, le: u8) -> Vec<u8> {
    t0.answer(&[0x00, GET_RESPONSE, 0, 0, le], || panic!("carried out"))
}

#[test]
fn case_4_is_fetched() {
    let mut t0 = T0Delivery::default();
    assert_eq!(t0.answer(SELECT, || whole(20)), [0x61, 20]);
    assert_eq!(fetch(&mut t0, 21), [0x6C, 20]);
    assert_eq!(fetch(&mut t0, 0), [0x6C, 20]);
    assert_eq!(fetch(&mut t0, 5), [0, 1, 2, 3, 4, 0x61, 15]);
    assert_eq!(fetch(&mut t0, 15), whole(20)[5..]);
    assert_eq!(fetch(&mut t0, 1), NOTHING);
    assert_eq!(t0.answer(SELECT, || whole(300)), [0x61, 0x00]);
    let first = fetch(&mut t0, 0);
    assert_eq!((first.len(), &first[256..]), (258, &[0x61, 44][..]));
    assert_eq!(fetch(&mut t0, 44), whole(300)[256..]);
    // Another command drops the rest, and an answer without data leaves none.
    assert_eq!(t0.answer(SELECT, || whole(3)), [0x61, 3]);
    assert_eq!(t0.answer(SELECT, || vec![0x6A, 0x82]), [0x6A, 0x82]);
    assert_eq!(fetch(&mut t0, 3), NOTHING);
}

#[test]
fn case_2_comes_again_with_the_right_length() {
    let mut t0 = T0Delivery::default();
    let again = [0x00, 0xB2, 0x01, 0x0C, 45];
    assert_eq!(t0.answer(READ, || whole(45)), [0x6C, 45]);
    assert_eq!(t0.answer(&again, || panic!("carried out twice")), whole(45));
    for wrong in [1, 44, 46, 0xFF] {
        assert_eq!(t0.answer(&[0x00, 0xB2, 0x01, 0x0C, wrong], || whole(45)), [0x6C, 45]);
    }
    assert_eq!(t0.answer(&[0x00, 0xB2, 0x02, 0x0C, 45], || whole(9)), [0x6C, 9], "another record");
    assert_eq!(t0.answer(&again, || whole(45)), whole(45), "right at once");
    assert_eq!(t0.answer(READ, || whole(256)), whole(256));
    assert_eq!(t0.answer(READ, || vec![0x6A, 0x83]), [0x6A, 0x83]);
    assert_eq!(t0.answer(READ, || whole(257)).split_off(256), [0x61, 1]);
}

/// ISO/IEC 7816-3, 12.2.5: the command TPDU of case 4 has no Le. Such a command is not carried out.
#[test]
fn a_command_with_data_and_le_is_refused() {
    let mut t0 = T0Delivery::default();
    for bytes in [
        &[0x00, 0xA4, 0x04, 0x00, 0x01, 0xAA, 0x00][..],
        &[0x80, 0x50, 0x00, 0x00, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x00],
        &[0x00, 0xA4, 0x04, 0x00, 0x01, 0xAA, 0x00, 0x00],
        &[0x00, 0xA4, 0x04, 0x00, 0x02, 0xAA],
        &[0x00, 0xA4, 0x04, 0x00, 0x00, 0x00],
        &[0x00, 0xA4, 0x04, 0x00, 0x00, 0x00, 0x01, 0xAA],
        &[0x00, 0xA4, 0x04, 0x00, 0x00, 0x00, 0x00],
        &[0x00, 0xA4, 0x04],
        &[],
    ] {
        let answer = t0.answer(bytes, || panic!("carried out: {bytes:02X?}"));
        assert_eq!(answer, NO_COMMAND, "{bytes:02X?}");
    }
    let longest = [&[0x80, 0xE2, 0x80, 0x00, 0xFF][..], &[0; 255]].concat();
    for bytes in [SELECT, READ, &READ[..4], &longest] {
        assert_eq!(t0.answer(bytes, || vec![0x90, 0x00]), [0x90, 0x00], "{bytes:02X?}");
    }
    assert_eq!(t0.answer(&[&longest[..], &[0]].concat(), || panic!("carried out")), NO_COMMAND);
}

#[test]
fn an_answer_comes_in_pieces() {
    let mut t0 = T0Delivery::default();
    t0.set_piece(8);
    assert_eq!(t0.answer(SELECT, || whole(20)), [0x61, 8]);
    assert_eq!(fetch(&mut t0, 20), [0x6C, 8]);
    assert_eq!(fetch(&mut t0, 8), [0, 1, 2, 3, 4, 5, 6, 7, 0x61, 8]);
    assert_eq!(fetch(&mut t0, 8)[8..], [0x61, 4]);
    assert_eq!(fetch(&mut t0, 4), whole(20)[16..]);
    // Case 2: 6Cxx, a piece with 61xx, the rest.
    assert_eq!(t0.answer(READ, || whole(10)), [0x6C, 8]);
    assert_eq!(t0.answer(&[0x00, 0xB2, 0x01, 0x0C, 8], || panic!("carried out"))[8..], [0x61, 2]);
    assert_eq!(fetch(&mut t0, 2), whole(10)[8..]);
    t0.set_piece(0);
    assert_eq!(t0.answer(SELECT, || whole(2)), [0x61, 1]);
}

#[test]
fn a_length_that_is_not_announced_is_found_by_6cxx() {
    let mut t0 = T0Delivery::default();
    t0.hide_lengths();
    assert_eq!(t0.answer(SELECT, || whole(20)), [0x61, 0x00]);
    assert_eq!(fetch(&mut t0, 0), [0x6C, 20]);
    assert_eq!(fetch(&mut t0, 20), whole(20));
}

#[test]
fn only_what_fetches_an_answer_is_no_new_command() {
    let mut t0 = T0Delivery::default();
    let get_response = &[0x00, 0xC0, 0x00, 0x00, 0x00];
    assert!(!t0.fetches(get_response) && !t0.fetches(READ));
    t0.answer(SELECT, || whole(20));
    assert!(t0.fetches(get_response) && !t0.fetches(SELECT) && !t0.fetches(READ));
    t0.answer(READ, || whole(20));
    assert!(!t0.fetches(get_response) && !t0.fetches(READ) && t0.fetches(&[0x00, 0xB2, 0x01, 0x0C, 20]));
    t0.forget();
    assert!(!t0.fetches(&[0x00, 0xB2, 0x01, 0x0C, 20]));
}

#[test]
fn t1_is_offered_by_any_td() {
    for (atr, t1) in [
        ("3B600000", false),
        ("3B751300005443415244", false),
        ("3BE000008131204535", true),
        ("3B80800101", true),
        ("3B02", false),
        ("3B028131", false),
        ("3BFF01", false),
        ("3B", false),
        ("", false),
    ] {
        assert_eq!(offers_t1(&hex::decode(atr).unwrap()), t1, "{atr}");
    }
}
