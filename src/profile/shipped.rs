//! The profiles that are part of the program: one line each.

/// Lines: `profiles/lines/`.
pub const LINES: &[(&str, &str)] = &[
    ("sim-8", include_str!("../../profiles/lines/sim-8.toml")),
    ("sim-64", include_str!("../../profiles/lines/sim-64.toml")),
    ("sim-chip-8", include_str!("../../profiles/lines/sim-chip-8.toml")),
    ("sim-line", include_str!("../../profiles/lines/sim-line.toml")),
    ("sim-stripe-first", include_str!("../../profiles/lines/sim-stripe-first.toml")),
];

/// Products: `profiles/products/`.
pub const PRODUCTS: &[(&str, &str)] = &[
    ("multiapp", include_str!("../../profiles/products/multiapp.toml")),
    ("payment-sda", include_str!("../../profiles/products/payment-sda.toml")),
    ("payment-dda", include_str!("../../profiles/products/payment-dda.toml")),
    ("payment-cda", include_str!("../../profiles/products/payment-cda.toml")),
];

/// A graphics template; `modules/template/mod.rs` describes its format.
pub struct TemplateSource {
    /// Its name in records.
    pub name: &'static str,
    /// SVG of the front.
    pub front: &'static str,
    /// SVG of the back; without one the back stays as it is.
    pub back: Option<&'static str>,
}

const MULTIAPP_FRONT: &str = include_str!("../../profiles/graphics/multiapp-front.svg");
const MULTIAPP_BACK: &str = include_str!("../../profiles/graphics/multiapp-back.svg");

/// Graphics templates: `profiles/graphics/`.
pub const TEMPLATES: &[TemplateSource] = &[
    TemplateSource { name: "multiapp", front: MULTIAPP_FRONT, back: Some(MULTIAPP_BACK) },
    // For files that were prepared before there was a back, and for printers of one side.
    TemplateSource { name: "multiapp-front", front: MULTIAPP_FRONT, back: None },
];
