//! Image slots and backs: where a picture goes, and what is refused.

use proptest::prelude::*;
use resvg::tiny_skia::PremultipliedColorU8;

use super::*;

const SLOT: &str = r##"<rect id="slot:photo" x="100" y="200" width="100" height="50" fill="#00ff00"/>"##;
const OPTIONAL: &str =
    r##"<rect id="optional-slot:photo" x="100" y="200" width="100" height="50" fill="#00ff00"/>"##;
const TEXT: &str = "<text x=\"10\" y=\"600\" font-size=\"20\">{{a}}</text>";

type Rgba = [u8; 4];
const WHITE: Rgba = [255; 4];
const GREEN: Rgba = [0, 255, 0, 255];
const RED: Rgba = [255, 0, 0, 255];
const BLUE: Rgba = [0, 0, 255, 255];

/// A PNG whose pixels a rule colours.
fn image(width: u32, height: u32, color: impl Fn(u32, u32) -> Rgba) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgba);
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let samples: Vec<u8> = places.flat_map(|(x, y)| color(x, y)).collect();
    encoder.write_header().unwrap().write_image_data(&samples).unwrap();
    out
}

fn with<'a>(image: &'a [u8]) -> GraphicsSection<'a> {
    GraphicsSection { template: "x", fields: vec![("a", "X")], images: vec![("photo", image)] }
}

fn drawn(ground: &str, image: &[u8]) -> Pixmap {
    let template = GraphicsTemplate::parse(&svg(ground, TEXT), None).unwrap();
    pixels(&template.render(&with(image)).unwrap().front)
}

fn at(card: &Pixmap, x: u32, y: u32) -> Rgba {
    let pixel: PremultipliedColorU8 = card.pixel(x, y).unwrap();
    [pixel.red(), pixel.green(), pixel.blue(), pixel.alpha()]
}

#[test]
fn an_image_of_the_slots_size_is_copied_pixel_by_pixel() {
    let color = |x: u32, y: u32| [u8::try_from(x).unwrap(), u8::try_from(y).unwrap(), 77, 255];
    let card = drawn(SLOT, &image(100, 50, color));
    for (x, y) in [(0, 0), (99, 0), (0, 49), (99, 49), (50, 25), (13, 37)] {
        assert_eq!(at(&card, 100 + x, 200 + y), color(x, y));
    }
    for (x, y) in [(99, 200), (100, 199), (200, 249), (199, 250)] {
        assert_eq!(at(&card, x, y), WHITE);
    }
}

#[test]
fn what_does_not_fit_is_cut_evenly() {
    // As high as the slot, twice as wide: red at both ends, which are cut off.
    let wide = image(200, 50, |x, _| if (50..150).contains(&x) { BLUE } else { RED });
    // Four times the slot's width, much too high.
    let high = image(400, 1000, |_, y| if (400..600).contains(&y) { BLUE } else { RED });
    // Half the slot's width: twice as large, and still cut.
    let small = image(50, 75, |_, y| if (25..50).contains(&y) { BLUE } else { RED });
    for (picture, margin) in [(wide, 0), (high, 0), (small, 2)] {
        let card = drawn(SLOT, &picture);
        for (x, y) in [(100, 200 + margin), (199, 249 - margin), (150, 225)] {
            assert_eq!(at(&card, x, y), BLUE);
        }
        assert_eq!((at(&card, 99, 225), at(&card, 150, 250)), (WHITE, WHITE));
    }
}

#[test]
fn a_large_image_is_averaged_not_sampled() {
    let stripes = image(1000, 500, |x, _| if x % 2 == 0 { [0, 0, 0, 255] } else { WHITE });
    assert!(at(&drawn(SLOT, &stripes), 150, 225)[0].abs_diff(127) <= 1);
}

#[test]
fn transparency_shows_the_slots_shape() {
    let half = image(100, 50, |x, _| if x < 50 { [255, 0, 0, 0] } else { [255, 0, 0, 128] });
    let card = drawn(SLOT, &half);
    assert_eq!(at(&card, 120, 225), GREEN);
    let mixed = at(&card, 180, 225);
    assert!(mixed[0].abs_diff(128) <= 1 && mixed[1].abs_diff(127) <= 1 && mixed[3] == 255, "{mixed:?}");
}

#[test]
fn an_image_is_clipped_to_round_shapes_and_lies_under_the_fields() {
    let red = image(10, 10, |_, _| RED);
    let round = "<circle id=\"slot:photo\" cx=\"150\" cy=\"225\" r=\"50\"/>";
    let card = drawn(round, &red);
    assert_eq!((at(&card, 150, 225), at(&card, 102, 177)), (RED, WHITE));
    let over = "<rect id=\"r\" x=\"120\" y=\"210\" width=\"9\" height=\"9\" fill=\"#0000ff\"/>";
    let template = GraphicsTemplate::parse(&svg(SLOT, &format!("{over}{TEXT}")), None).unwrap();
    let card = pixels(&template.render(&with(&red)).unwrap().front);
    assert_eq!((at(&card, 124, 214), at(&card, 140, 214)), (BLUE, RED));
}

#[test]
fn a_missing_image_is_a_fault_unless_the_slot_is_optional() {
    let without = graphics(&[("a", "X")]);
    let template = GraphicsTemplate::parse(&svg(SLOT, TEXT), None).unwrap();
    assert!(template.check(&without).unwrap_err().contains("photo of the template is missing"));
    assert!(template.render(&without).is_err());
    let template = GraphicsTemplate::parse(&svg(OPTIONAL, TEXT), None).unwrap();
    let card = pixels(&template.render(&without).unwrap().front);
    assert_eq!(at(&card, 150, 225), GREEN);
    let red = image(1, 1, |_, _| RED);
    assert_eq!(at(&pixels(&template.render(&with(&red)).unwrap().front), 150, 225), RED);
    let mut other = with(&red);
    other.images.push(("SECRET", &red));
    let error = template.check(&other).unwrap_err();
    assert!(error.contains("no slot") && !error.contains("SECRET"));
}

#[test]
fn a_wrong_image_is_found_at_acceptance_and_a_broken_one_before_printing() {
    let template = GraphicsTemplate::parse(&svg(SLOT, TEXT), None).unwrap();
    assert!(template.check(&with(b"GIF89a")).unwrap_err().contains("image photo is neither"));
    let mut broken = image(64, 64, |_, _| RED);
    let middle = broken.len() - 24;
    broken[middle] ^= 0xFF;
    assert_eq!(template.check(&with(&broken)), Ok(()));
    assert!(template.render(&with(&broken)).err().unwrap().contains("image photo is a broken PNG"));
}

#[test]
fn the_same_image_gives_the_same_bytes() {
    let template = named("multiapp").unwrap();
    let photo =
        image(300, 400, |x, y| [u8::try_from(x % 256).unwrap(), u8::try_from(y % 256).unwrap(), 9, 255]);
    let graphics = || GraphicsSection { images: vec![("photo", &photo)], ..front("JANE DOE") };
    let (one, two) = (template.render(&graphics()).unwrap(), template.render(&graphics()).unwrap());
    let plain = template.render(&front("JANE DOE")).unwrap();
    assert_eq!((&one.front, &one.back), (&two.front, &two.back));
    assert_ne!(one.front, plain.front);
    assert_eq!(one.back, plain.back);
    assert_ne!(plain.back, template.render(&front("JOHN ROE")).unwrap().back);
    assert_eq!(plain.front, named("multiapp-front").unwrap().render(&front("JANE DOE")).unwrap().front);
}

#[test]
fn fields_and_slots_may_stand_on_either_side() {
    let back = svg(SLOT, "<text y=\"300\">{{b}} {{a}}</text>");
    let template = GraphicsTemplate::parse(&svg(OPTIONAL, TEXT), Some(&back)).unwrap();
    assert_eq!(template.fields(), ["a", "b"]);
    let red = image(1, 1, |_, _| RED);
    let wanted = GraphicsSection {
        template: "x",
        fields: vec![("b", "Y"), ("a", "X")],
        images: vec![("photo", &red)],
    };
    let pictures = template.render(&wanted).unwrap();
    for side in [&pictures.front, pictures.back.as_ref().unwrap()] {
        assert_eq!(at(&pixels(side), 150, 225), RED);
    }
    // The stricter side counts.
    let without = GraphicsSection { images: vec![], ..wanted };
    assert!(template.check(&without).is_err());
}

#[test]
fn a_side_without_fields_is_the_same_on_every_card() {
    let back = format!("{}<rect width=\"500\" height=\"500\" fill=\"#0000ff\"/>{OPTIONAL}</svg>", open(1011));
    let template = GraphicsTemplate::parse(&svg("", TEXT), Some(&back)).unwrap();
    let back = |images: Vec<(&'static str, &[u8])>, text: &'static str| {
        let wanted = GraphicsSection { template: "x", fields: vec![("a", text)], images };
        template.render(&wanted).unwrap().back.unwrap()
    };
    assert_eq!(back(vec![], "X"), back(vec![], "Y"));
    assert_eq!(at(&pixels(&back(vec![], "X")), 10, 10), BLUE);
    let red = image(1, 1, |_, _| RED);
    assert_eq!(at(&pixels(&back(vec![("photo", &red)], "X")), 150, 225), RED);
}

#[test]
fn wrong_slots_are_refused() {
    for (wrong, ground, fields) in [
        ("twice", SLOT.repeat(2), ""),
        ("no name", SLOT.replace("photo", ""), ""),
        ("capitals", SLOT.replace("photo", "Photo"), ""),
        ("other prefix", SLOT.replace("slot:", "my-slot:"), ""),
        ("hidden", SLOT.replace("fill=", "display=\"none\" fill="), ""),
        ("a text", "<text id=\"slot:photo\" y=\"90\">X</text>".into(), ""),
        ("left of the card", SLOT.replace("x=\"100\"", "x=\"-1\""), ""),
        ("below the card", SLOT.replace("y=\"200\"", "y=\"600\""), ""),
        ("tiny", SLOT.replace("height=\"50\"", "height=\"0.5\""), ""),
        ("among the fields", String::new(), SLOT),
    ] {
        assert!(GraphicsTemplate::parse(&svg(&ground, fields), None).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_image_bytes_are_drawn_or_refused(data in proptest::collection::vec(any::<u8>(), 0..2048), png: bool) {
        let template = named("multiapp").unwrap();
        let magic: &[u8] = if png { b"\x89PNG\r\n\x1A\n" } else { b"\xFF\xD8\xFF" };
        let data = [magic, &data].concat();
        let wanted = GraphicsSection { images: vec![("photo", &data)], ..front("JANE DOE") };
        prop_assert!(template.render(&wanted).is_err() || template.check(&wanted).is_ok());
    }

    #[test]
    fn an_image_of_any_size_covers_its_slot(width in 1..300u32, height in 1..300u32) {
        let card = drawn(SLOT, &image(width, height, |_, _| RED));
        for (x, y) in [(100, 200), (199, 200), (100, 249), (199, 249), (150, 225)] {
            prop_assert_eq!(at(&card, x, y), RED);
        }
    }
}
