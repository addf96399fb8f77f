//! Properties of the chip section: canonical coding, and no panic on any bytes.

use proptest::prelude::*;

use super::super::*;
use crate::record::testing::{ApplicationPieces, SectionPieces, dgi, dgis};

fn changed(change: impl FnOnce(&mut ApplicationPieces)) -> ApplicationPieces {
    let mut app = ApplicationPieces::default();
    change(&mut app);
    app
}

/// An application with any mixture of lists that keeps the rules: DGIs numbered from 0, each with a role.
fn apps() -> impl Strategy<Value = ApplicationPieces> {
    let role = (0u8..4, any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..300));
    let suite = prop::sample::select(vec![(0x40u8, 24usize, 8usize), (0x41, 32, 16), (0x42, 32, 16)]);
    (
        prop::collection::vec(role, 0..12),
        suite,
        0x10u8..0x14,
        any::<bool>(),
        prop::collection::vec(any::<u8>(), 1..16),
    )
        .prop_map(|(roles, (tk_type, wrapped, mac), cmode, grouped, aid)| {
            let mut app = ApplicationPieces {
                aid,
                tk_type,
                cmode,
                wrapped: vec![3; wrapped],
                mac: vec![4; mac],
                ..changed(|a| {
                    for list in
                        [&mut a.order, &mut a.vercntl, &mut a.enc, &mut a.group, &mut a.log, &mut a.data]
                    {
                        list.clear();
                    }
                    a.protected.clear();
                })
            };
            let (mut clear, mut secret) = (Vec::new(), Vec::new());
            for (number, (role, version, ordered, bytes)) in (0x0100u16..).zip(roles) {
                app.data.extend(dgi(number, &bytes));
                if version {
                    app.vercntl.extend(dgis(&[number]));
                }
                if ordered {
                    app.order.extend([&[1], &dgis(&[number])[..]].concat());
                }
                match role {
                    0 => clear.push(number),
                    1 => app.log.extend(dgis(&[number])),
                    _ => {
                        app.protected.push(number);
                        let kind = if role == 2 { 0x12 } else { 0x22 };
                        app.enc.extend([&dgis(&[number])[..], &[kind]].concat());
                        secret.push(number);
                    }
                }
            }
            for list in [clear, secret] {
                if grouped && !list.is_empty() {
                    app.group.extend([&[list.len() as u8], &dgis(&list)[..]].concat());
                }
            }
            app
        })
}

proptest! {
    /// A section or application that parses encodes to identical bytes.
    #[test]
    fn the_coding_is_canonical(first in apps(), second in apps()) {
        let application = ChipApplication::parse(&first.bytes()).unwrap();
        prop_assert_eq!(&application.encode().unwrap()[..], &first.bytes()[..]);
        prop_assert_eq!(&application.raw[..], &first.bytes()[..]);
        prop_assume!(first.aid != second.aid);
        let section = SectionPieces { crn: b"CARD".to_vec(), ..SectionPieces::new(&[first, second]) }.bytes();
        let chip = ChipSection::parse(&section).unwrap();
        prop_assert_eq!(&chip.encode().unwrap()[..], &section[..]);
    }

    #[test]
    fn damaged_sections_never_panic(app in apps(), place: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut section = SectionPieces::new(&[app]).bytes();
        let place = place.index(section.len());
        section[place] = byte;
        let _ = ChipSection::parse(&section).map(|chip| chip.encode());
        section.truncate(cut.index(section.len()));
        prop_assert!(ChipSection::parse(&section).is_err());
    }

    /// A reader that remembers an application of the same shape finds every fault that a new one finds.
    #[test]
    fn remembered_shapes_hide_no_fault(app in apps(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)) {
        let good = app.bytes();
        let mut bad = good.clone();
        for (place, byte) in changes {
            let place = place.index(bad.len());
            bad[place] = byte;
        }
        let read = |scratch: &mut SectionScratch| {
            ApplicationView::parse(&bad, 7, scratch).and_then(|view| view.to_application()).map(|read| read.encode().unwrap())
        };
        let mut warm = SectionScratch::default();
        let shape = ApplicationView::parse(&good, 0, &mut warm).unwrap().shape;
        prop_assert_eq!(ApplicationView::parse(&good, 0, &mut warm).unwrap().shape, shape);
        prop_assert_eq!(read(&mut warm), read(&mut SectionScratch::default()));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = ChipApplication::parse(&bytes);
        let section = [&b"02.2"[..], &(bytes.len() as u16).to_be_bytes(), &bytes].concat();
        let _ = ChipSection::parse(&section);
    }
}
