//! Templates: what is refused in them and in the texts that fill them.

use super::side::{FIELDS, HEIGHT, WIDTH, draw, fits, tree};
use super::*;
use crate::profile::{TEMPLATES, TemplateSource};
use resvg::tiny_skia::Pixmap;
use resvg::usvg;

fn open(width: u32) -> String {
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"638\">")
}

fn template(fields: &str) -> Result<GraphicsTemplate, String> {
    GraphicsTemplate::parse(&svg("", fields), None)
}

fn svg(ground: &str, fields: &str) -> String {
    format!("{}<rect width=\"9\" height=\"9\"/>{ground}{FIELDS}>{fields}</g></svg>", open(1011))
}

fn graphics<'a>(fields: &[(&'a str, &'a str)]) -> GraphicsSection<'a> {
    GraphicsSection { template: "x", fields: fields.to_vec(), images: vec![] }
}

fn front<'a>(name: &'a str) -> GraphicsSection<'a> {
    GraphicsSection {
        template: "multiapp-front",
        fields: vec![("name", name), ("number", "4761 7390 0101 0119"), ("expiry", "12/29")],
        images: vec![],
    }
}

fn pixels(png: &[u8]) -> Pixmap {
    Pixmap::decode_png(png).unwrap()
}

#[test]
fn every_shipped_template_renders_at_cr80_and_300_dpi() {
    for TemplateSource { name, back, .. } in TEMPLATES {
        let template = named(name).unwrap();
        let texts: Vec<(&str, &str)> = template.fields().into_iter().map(|f| (f, "ÅX 09")).collect();
        let pictures = template.render(&graphics(&texts)).unwrap();
        assert_eq!(pictures.back.is_some(), back.is_some());
        for png in [Some(pictures.front), pictures.back].into_iter().flatten() {
            let card = pixels(&png);
            assert_eq!((card.width(), card.height()), (1011, 638));
            assert!(card.pixels().iter().all(|p| p.alpha() == 255), "{name} leaves holes");
        }
    }
}

#[test]
fn two_layers_give_the_same_picture_as_one() {
    let source = TEMPLATES.iter().find(|t| t.name == "multiapp-front").unwrap();
    let whole = source
        .front
        .replace("{{name}}", "JANE DOE")
        .replace("{{number}}", "4761 7390 0101 0119")
        .replace("{{expiry}}", "12/29");
    let mut expected = Pixmap::new(WIDTH, HEIGHT).unwrap();
    draw(&tree(&whole).unwrap(), &mut expected).unwrap();
    let card = pixels(&named("multiapp-front").unwrap().render(&front("JANE DOE")).unwrap().front);
    assert!(card.data() == expected.data());
}

#[test]
fn the_same_texts_give_the_same_bytes_and_others_do_not() {
    let template = named("multiapp-front").unwrap();
    let first = template.render(&front("JANE DOE")).unwrap().front;
    assert_eq!(*first, *template.render(&front("JANE DOE")).unwrap().front);
    assert_ne!(*first, *template.render(&front("JANE DOF")).unwrap().front);
    assert_ne!(*first, *template.render(&front("")).unwrap().front);
}

#[test]
fn texts_stay_texts() {
    let template = template("<text x=\"50\" y=\"300\" font-size=\"20\">{{a}}</text>").unwrap();
    // A text that would end the element, open another, or name a field again is drawn literally.
    for text in [
        "A</text><rect width='1011' height='638'/>",
        "&lt;",
        "a&b",
        "{{a}}",
        "\"'>",
        "<!-- x",
        "]]>",
        "&#65;",
    ] {
        let layer = template.front.layer(|_| text).unwrap();
        let mut texts = vec![];
        collect(layer.root(), &mut texts);
        assert_eq!(texts, [text]);
    }
}

/// The texts of a tree; anything else in it fails the test.
fn collect(group: &usvg::Group, texts: &mut Vec<String>) {
    for node in group.children() {
        match node {
            usvg::Node::Group(group) => collect(group, texts),
            usvg::Node::Text(text) => texts.extend(text.chunks().iter().map(|c| c.text().to_owned())),
            _ => panic!("a text became something else"),
        }
    }
}

#[test]
fn fields_must_be_the_templates() {
    let template = template("<text y=\"300\">{{a}} {{b}} {{a}}</text>").unwrap();
    assert_eq!(template.fields(), ["a", "b"]);
    assert_eq!(template.check(&graphics(&[("b", "X"), ("a", "Y")])), Ok(()));
    assert_eq!(template.check(&graphics(&[("a", ""), ("b", "")])), Ok(()));
    assert!(template.check(&graphics(&[("a", "X")])).unwrap_err().contains("b"));
    assert!(template.check(&graphics(&[("a", "X"), ("b", "Y"), ("SECRET", "Z")])).is_err());
    let mut with_image = graphics(&[("a", "X"), ("b", "Y")]);
    with_image.images.push(("photo", b"\x89PNG"));
    assert!(template.check(&with_image).unwrap_err().contains("no slot"));
    assert!(check(&GraphicsSection { template: "nowhere", fields: vec![], images: vec![] }).is_err());
}

#[test]
fn texts_are_bounded_in_length_and_characters() {
    let template = template("<text y=\"300\" font-size=\"4\">{{a}}</text>").unwrap();
    let check = |text: &str| template.check(&graphics(&[("a", text)]));
    assert_eq!(check(&"Ü".repeat(64)), Ok(()));
    assert!(check(&"Ü".repeat(65)).is_err());
    assert_eq!(check("Łódź Ångström Ελλάδα Москва 4761"), Ok(()));
    for wrong in [
        "\n", "\u{0}", "\u{7F}", "\u{85}", "\u{AD}", "a\u{301}", "\u{200B}", "\u{202E}", "\u{FEFF}", "漢",
        "😀",
    ] {
        let error = check(&format!("SECRET{wrong}")).unwrap_err();
        assert!(!error.contains("SECRET"));
    }
}

#[test]
fn a_text_that_leaves_the_card_is_refused() {
    let error = named("multiapp-front").unwrap().render(&front(&"W".repeat(40))).err().unwrap();
    assert!(error.contains("does not fit"));
    // The longest name that EMV knows (5F20: 26 characters) fits.
    assert!(named("multiapp-front").unwrap().render(&front(&"N".repeat(26))).is_ok());
}

#[test]
fn every_printable_character_has_a_glyph() {
    let template = template("<text y=\"300\" font-size=\"4\">{{a}}</text>").unwrap();
    for c in (' '..='\u{FFFF}').filter(|c| printable(*c)) {
        let text = c.to_string();
        let layer = template.front.layer(|_| &text).unwrap();
        assert_eq!(fits(layer.root()), Ok(()), "U+{:04X}", u32::from(c));
    }
}

#[test]
fn broken_or_reaching_templates_are_refused() {
    let fields = "<g id=\"fields\"></g>";
    for (wrong, svg) in [
        ("no svg", "<x/>".into()),
        ("no end", format!("{}{fields}", open(1011))),
        ("fields not last", format!("{}{fields}<rect/></g></svg><x>", open(1011))),
        ("field outside", format!("{}<text>{{{{a}}}}</text>{fields}</svg>", open(1011))),
        ("wrong size", format!("{}{fields}</svg>", open(1012))),
        ("not XML", format!("{}<rect>{fields}</svg>", open(1011))),
        ("layer not XML", format!("{}<g id=\"fields\"><text></g></svg>", open(1011))),
        ("open marker", format!("{}<g id=\"fields\"><text>{{{{a</text></g></svg>", open(1011))),
        ("field name", format!("{}<g id=\"fields\"><text>{{{{A b}}}}</text></g></svg>", open(1011))),
        ("image", format!("{}<image/>{fields}</svg>", open(1011))),
        ("reference", format!("{}<use xlink:href=\"file:///etc/passwd\"/>{fields}</svg>", open(1011))),
        ("entity", format!("<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///x'>]>{}{fields}</svg>", open(1011))),
        ("style import", format!("{}<style>@import 'x';</style>{fields}</svg>", open(1011))),
    ] {
        assert!(GraphicsTemplate::parse(&svg, None).is_err(), "{wrong}");
        assert!(
            GraphicsTemplate::parse(&format!("{}</svg>", open(1011)), Some(&svg)).is_err(),
            "{wrong} on the back"
        );
    }
}

mod slots;

/// The fast answer about widths must never differ from laying the texts out.
#[test]
fn texts_surely_fit_only_if_they_fit_when_laid_out() {
    let template = named("multiapp-front").unwrap();
    let letters = ["W", "i", "AV", "To", "Ł", "é", " ", "1", "H", "M.", "&", "ffi", "Ω", "Ж"];
    let mut last = (true, true);
    for letter in letters {
        for count in 1..=40 {
            let text = letter.repeat(count);
            if text.chars().count() > TEXT_MAX {
                continue;
            }
            let graphics = front(&text);
            let laid_out = fits(template.front.layer(|name| value(&graphics, name)).unwrap().root()).is_ok();
            last = (template.try_out(&graphics).is_ok(), laid_out);
            assert_eq!(last.0, last.1, "{letter} {count} times");
        }
    }
    assert_eq!(last, (false, false), "no text was too wide");
}

#[test]
fn a_side_whose_texts_do_not_follow_one_after_the_other_is_laid_out() {
    use super::room::is_plain;
    assert!(is_plain(
        "<g id=\"fields\"><text x=\"1\" y=\"2\" text-anchor=\"middle\" letter-spacing=\"3\">{{a}}</text></g>"
    ));
    for unplain in
        ["x=\"1 2\"", "x=\"1,2\"", "letter-spacing=\"-3\"", "dx=\"1\"", "style=\"a\"", "textLength=\"9\""]
    {
        assert!(!is_plain(&format!("<text {unplain}>{{{{a}}}}</text>")), "{unplain}");
    }
}
