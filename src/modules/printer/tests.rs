//! Rendering and printing: what a record may put on the plastic, and what the printer gets.

use std::sync::{Arc, Mutex};

use drivers::printer::framed::FramedPrinter;
use resvg::tiny_skia::Pixmap;

use super::*;
use crate::modules::Blame;
use crate::modules::testing::{Log, framed, sink, work};

fn section(name: &str) -> Vec<u8> {
    let tlv = |tag: u8, value: &[u8]| {
        [&[tag][..], &u32::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    };
    let field = |field: &str, text: &str| {
        tlv(2, &[&[u8::try_from(field.len()).unwrap()], field.as_bytes(), text.as_bytes()].concat())
    };
    [
        tlv(1, b"multiapp-front"),
        field("name", name),
        field("number", "4761 7390 0101 0119"),
        field("expiry", "12/29"),
    ]
    .concat()
}

fn station(bad: u8, status: u8) -> (PrinterModule, Log) {
    let (module, log, _) = with_images(bad, status);
    (module, log)
}

/// A station, its commands, and what came over its link for images.
fn with_images(bad: u8, status: u8) -> (PrinterModule, Log, Arc<Mutex<Vec<u8>>>) {
    let ((link, log), (stream, images)) = (framed(bad, status), sink());
    (PrinterModule::new(Box::new(FramedPrinter::new(link, stream)), Mic::new("GFX").unwrap()), log, images)
}

/// The one picture that the machine got, without the side and the length before it.
fn printed(images: &Mutex<Vec<u8>>) -> Vec<u8> {
    let images = images.lock().unwrap();
    let length = usize::try_from(u32::from_be_bytes(images[1..5].try_into().unwrap())).unwrap();
    assert_eq!((images[0], images.len()), (b'F', 5 + length));
    images[5..].to_vec()
}

#[test]
fn the_front_is_printed_once_as_prepared() {
    let data = section("JANE DOE");
    let work = work(&[("GFX", &data)]);
    let (mut module, log, images) = with_images(0, 0);
    module.prepare(&work).unwrap();
    assert!(log.lock().unwrap().is_empty());
    module.inspect(&work).unwrap();
    module.personalize(&work).unwrap();
    let picture = Pixmap::decode_png(&printed(&images)).unwrap();
    assert_eq!((picture.width(), picture.height()), (1011, 638));
    let log = log.lock().unwrap();
    assert_eq!(log.iter().filter(|(c, _)| *c == b'P').count(), 1);
    assert_eq!(log.iter().filter(|(c, d)| *c == b'H' && d[0] == b'F').count(), 1);
    assert_eq!(log.iter().filter(|(c, d)| *c == b'H' && d[0] == b'B').count(), 0);
}

#[test]
fn a_prepared_picture_never_goes_on_another_card() {
    let (jane, john) = (section("JANE DOE"), section("JOHN ROE"));
    let (mut module, _, images) = with_images(0, 0);
    module.prepare(&work(&[("GFX", &jane)])).unwrap();
    module.personalize(&work(&[("GFX", &john)])).unwrap();
    let (mut other, _, other_images) = with_images(0, 0);
    other.personalize(&work(&[("GFX", &john)])).unwrap();
    assert_eq!(printed(&images), printed(&other_images));
}

#[test]
fn wrong_data_is_found_before_a_card_comes() {
    let (mut module, log) = station(0, 0);
    for wrong in
        [vec![], b"nonsense".to_vec(), section("TOO LONG TO FIT ON A CARD, WHATEVER THE FONT SIZE IS")]
    {
        let fault = module.prepare(&work(&[("GFX", &wrong)])).unwrap_err();
        assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Data, "data"));
        assert!(!fault.detail.contains("TOO LONG"));
    }
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn ribbon_jam_and_a_lost_picture_are_the_devices() {
    let data = section("JANE DOE");
    // '3': the picture did not arrive. We made it, so the record is not to blame.
    for (status, reason) in [(b'4', "supply"), (b'1', "jam"), (b'3', "device")] {
        let (mut module, _) = station(b'P', status);
        let fault = module.personalize(&work(&[("GFX", &data)])).unwrap_err();
        assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Device, reason));
    }
}

#[test]
fn a_record_without_graphics_leaves_the_machine_alone() {
    let (mut module, log) = station(0, 0);
    let work = work(&[("MAG", b"")]);
    assert!(!module.wants(&work));
    module.prepare(&work).unwrap();
    module.personalize(&work).unwrap();
    assert!(log.lock().unwrap().is_empty());
}
