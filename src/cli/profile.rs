//! `cardwright profile list | check FILE`: lists the shipped profiles and the bureau's own, and checks one of your own.

use std::path::PathBuf;

use crate::bureau::key_host::socket_directory;
use crate::bureau::line::simulator::{Simulation, Simulator};
use crate::bureau::line::stations;
use crate::exit::{Exit, Failure};
use crate::modules::LineProfile;
use crate::modules::template::{self, GraphicsTemplate};
use crate::prep::plan::PrepPlan;
use crate::profile::{ProductProfile, graphics};
use crate::stdout;

/// The commands of `cardwright profile`.
#[derive(Debug, clap::Subcommand)]
pub enum ProfileCommand {
    /// The shipped lines, products and graphics templates, and those in the folder of CARDWRIGHT_PROFILES.
    List,
    /// Load and check a profile file: a line (it has `[[module]]`), a product, or one side of a graphics template.
    Check {
        /// A .toml file, or an .svg file.
        file: PathBuf,
    },
}

/// Carries out a command of `cardwright profile`.
pub fn run(command: &ProfileCommand) -> Result<Exit, Failure> {
    match command {
        ProfileCommand::List => list()?,
        ProfileCommand::Check { file } if file.extension().is_some_and(|end| end == "svg") => {
            let text = crate::profile::source(file)?;
            let wrong = |what| Failure::new(Exit::Profile, format!("profile {}: {what}", file.display()));
            GraphicsTemplate::parse(&text, None).map_err(wrong)?;
            stdout::print("template side: no fault found\n")?;
        }
        ProfileCommand::Check { file } if !file.exists() && file.extension().is_none() => {
            let what = format!(
                "operator: profile {}: there is no such file; the command checks a .toml or .svg file, and shipped profiles \
                 need no check",
                file.display()
            );
            return Err(Failure::new(Exit::Profile, what));
        }
        ProfileCommand::Check { file } => {
            let origin = file.display().to_string();
            let text = crate::profile::source(file)?;
            let table: toml::Table = crate::profile::parse(&text, &origin)?;
            let (kind, name) = if table.contains_key("module") {
                let line = LineProfile::from_toml(&text, &origin)?;
                stations::check(&line)?;
                if line.sim.is_some() {
                    simulated(&text, &origin)?;
                }
                ("line", line.name)
            } else {
                let product = ProductProfile::from_toml(&text, &origin)?;
                if product.prep.is_some() {
                    PrepPlan::load(&product)?;
                }
                ("product", product.name)
            };
            stdout::print(&format!("{kind} {name}: no fault found\n"))?;
        }
    }
    Ok(Exit::Ok)
}

/// Prints a line for each profile. One of the bureau's own stands in place of a shipped one of its name; one that is
/// wrong is listed with its fault.
fn list() -> Result<(), Failure> {
    for name in crate::profile::line_names() {
        row("line", &name, LineProfile::load(&name).map(|line| line.description))?;
    }
    for name in crate::profile::product_names() {
        row("product", &name, ProductProfile::load(&name).map(|product| product.description))?;
    }
    for name in graphics::names() {
        let sides = template::named(&name).map(|template| match template.has_back() {
            true => "front and back".to_owned(),
            false => "front".to_owned(),
        });
        row("template", &name, sides.map_err(|what| Failure::new(Exit::Profile, what)))?;
    }
    Ok(())
}

fn row(noun: &str, name: &str, says: Result<String, Failure>) -> Result<(), Failure> {
    let says = says.unwrap_or_else(|failure| format!("WRONG: {failure}"));
    stdout::print(&format!("{noun:<8} {name:<14} {says}\n"))
}

/// Has hwsim check the `[sim]` table, which belongs to it. Without hwsim the table is not used, and so not
/// checked.
fn simulated(text: &str, origin: &str) -> Result<(), Failure> {
    let directory = socket_directory()?;
    match Simulator::check(text, origin, &Simulation::default(), directory.path()) {
        Err(failure) if failure.exit == Exit::Device => {
            stdout::print(&format!("[sim] was not checked: {failure}\n"))?;
            Ok(())
        }
        other => other,
    }
}
