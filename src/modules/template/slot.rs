//! Image slots: where a record's image goes, and how it is fitted in.

use resvg::tiny_skia::{FillRule, FilterQuality, Paint, Path, Pattern, Pixmap, Rect, SpreadMode, Transform};
use resvg::usvg;

use super::side::{HEIGHT, WIDTH};
use crate::modules::sections::GraphicsSection;
use crate::picture::Canvas;

/// Start of the id of a slot's shape, which [`OPTIONAL`] may precede.
pub(super) const MARK: &str = "slot:";
const OPTIONAL: &str = "optional-";

/// A slot for a record's image.
pub(super) struct ImageSlot {
    /// Its image's name in the record.
    pub(super) name: String,
    /// Whether a card may lack the image.
    pub(super) optional: bool,
    /// The shape, in pixels of the card.
    shape: Path,
    area: Rect,
    /// Width of the area in whole pixels.
    width: u32,
    /// Height of the area in whole pixels.
    height: u32,
}

/// The slots of a background, in the order in which they are drawn. A shape that the SVG names but that is left
/// out of the picture is an error, so that no image goes missing.
pub(super) fn all(svg: &str, tree: &usvg::Tree) -> Result<Vec<ImageSlot>, String> {
    let mut slots = Vec::new();
    find(tree.root(), &mut slots)?;
    if slots.len() != svg.matches(MARK).count() {
        return Err("a slot is not a shape of the picture, or its name occurs elsewhere too".into());
    }
    Ok(slots)
}

fn find(group: &usvg::Group, slots: &mut Vec<ImageSlot>) -> Result<(), String> {
    for node in group.children() {
        match node {
            usvg::Node::Path(path) => {
                if let Some((before, name)) = path.id().split_once(MARK) {
                    let slot = slot(before, name, path)?;
                    if slots.iter().any(|s| s.name == slot.name) {
                        return Err(format!("slot {name} stands twice on one side"));
                    }
                    slots.push(slot);
                }
            }
            usvg::Node::Group(group) => find(group, slots)?,
            usvg::Node::Text(_) | usvg::Node::Image(_) => {}
        }
    }
    Ok(())
}

fn slot(before: &str, name: &str, path: &usvg::Path) -> Result<ImageSlot, String> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("a slot name is made of a-z, 0-9 and -".into());
    }
    if !before.is_empty() && before != OPTIONAL {
        return Err(format!("slot {name}: its id begins with {MARK} or {OPTIONAL}{MARK}"));
    }
    let unfit = || format!("slot {name} does not lie on the card");
    let shape = path.data().clone().transform(path.abs_transform()).ok_or_else(unfit)?;
    let area = shape.bounds();
    let whole = area.round_out().ok_or_else(unfit)?;
    let on_card = whole.x() >= 0
        && whole.y() >= 0
        && u32::try_from(whole.right()).is_ok_and(|right| right <= WIDTH)
        && u32::try_from(whole.bottom()).is_ok_and(|bottom| bottom <= HEIGHT);
    if !on_card || area.width() < 1.0 || area.height() < 1.0 {
        return Err(unfit());
    }
    Ok(ImageSlot {
        name: name.to_owned(),
        optional: before == OPTIONAL,
        shape,
        area,
        width: whole.width(),
        height: whole.height(),
    })
}

impl ImageSlot {
    /// The record's image for this slot.
    pub(super) fn image<'a>(&self, graphics: &GraphicsSection<'a>) -> Option<&'a [u8]> {
        graphics.images.iter().find(|(name, _)| *name == self.name).map(|(_, image)| *image)
    }

    /// Draws the image over the shape.
    pub(super) fn draw(&self, image: &Canvas, card: &mut Pixmap) -> Result<(), String> {
        // The bilinear filter looks at four pixels only, so a much larger image is first averaged down.
        let times = (image.0.width() / self.width).min(image.0.height() / self.height);
        let smaller = if times > 1 { Some(shrunk(&image.0, times)?) } else { None };
        let image = smaller.as_ref().unwrap_or(image).0.as_ref();
        let side = |pixels: u32| u16::try_from(pixels).map(f32::from).map_err(|_| "is too large".to_owned());
        let (width, height) = (side(image.width())?, side(image.height())?);
        let scale = (self.area.width() / width).max(self.area.height() / height);
        let left = self.area.x() + (self.area.width() - width * scale) / 2.0;
        let top = self.area.y() + (self.area.height() - height * scale) / 2.0;
        let place = Transform::from_row(scale, 0.0, 0.0, scale, left, top);
        let shader = Pattern::new(image, SpreadMode::Pad, FilterQuality::Bilinear, 1.0, place);
        let paint = Paint { shader, anti_alias: true, ..Paint::default() };
        card.fill_path(&self.shape, &paint, FillRule::Winding, Transform::identity(), None);
        Ok(())
    }
}

/// The image with each square of `times` by `times` pixels averaged to one; what is left over at the edges is cut.
fn shrunk(image: &Pixmap, times: u32) -> Result<Canvas, String> {
    let tiny = || "has no pixels".to_owned();
    let mut small = Canvas(Pixmap::new(image.width() / times, image.height() / times).ok_or_else(tiny)?);
    let bytes = |pixels: u32| usize::try_from(pixels).map(|n| n * 4).map_err(|_| tiny());
    let (line, square, out) = (bytes(image.width())?, bytes(times)?, bytes(small.0.width())?);
    let lines = square / 4;
    let mut sums = vec![[0u32; 4]; out / 4];
    for (band, row) in image.data().chunks_exact(line * lines).zip(small.0.data_mut().chunks_exact_mut(out)) {
        sums.fill([0; 4]);
        for line in band.chunks_exact(line) {
            for (sum, square) in sums.iter_mut().zip(line.chunks_exact(square)) {
                for pixel in square.chunks_exact(4) {
                    sum.iter_mut().zip(pixel).for_each(|(sum, byte)| *sum += u32::from(*byte));
                }
            }
        }
        for (sum, pixel) in sums.iter().zip(row.chunks_exact_mut(4)) {
            for (sum, byte) in sum.iter().zip(pixel) {
                *byte = u8::try_from(sum / (times * times)).unwrap_or(u8::MAX);
            }
        }
    }
    Ok(small)
}
