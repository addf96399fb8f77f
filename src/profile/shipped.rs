//! The profiles that the program carries with it: one line each.

/// Lines: `profiles/lines/`.
pub const LINES: &[(&str, &str)] = &[
    ("sim-8", include_str!("../../profiles/lines/sim-8.toml")),
    ("sim-64", include_str!("../../profiles/lines/sim-64.toml")),
    ("sim-chip-8", include_str!("../../profiles/lines/sim-chip-8.toml")),
    ("sim-line", include_str!("../../profiles/lines/sim-line.toml")),
];

/// Products: `profiles/products/`.
pub const PRODUCTS: &[(&str, &str)] = &[("multiapp", include_str!("../../profiles/products/multiapp.toml"))];

/// Graphics templates: `profiles/graphics/`.
pub const TEMPLATES: &[(&str, &str)] =
    &[("multiapp-front", include_str!("../../profiles/graphics/multiapp-front.svg"))];
