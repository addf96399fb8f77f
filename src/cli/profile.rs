//! `cardwright profile list | check FILE`: lists the shipped profiles, and checks one of your own.

use std::path::PathBuf;

use crate::bureau::key_host::socket_directory;
use crate::bureau::line::simulator::{Simulation, Simulator};
use crate::bureau::line::stations;
use crate::exit::{Exit, Failure};
use crate::modules::LineProfile;
use crate::prep::plan::PrepPlan;
use crate::profile::{LINES, PRODUCTS, ProductProfile};
use crate::stdout;

/// The commands of `cardwright profile`.
#[derive(Debug, clap::Subcommand)]
pub enum ProfileCommand {
    /// The shipped lines and products.
    List,
    /// Load and check a profile file: a line (it has `[[module]]`) or a product.
    Check {
        /// A .toml file.
        file: PathBuf,
    },
}

/// Carries out a command of `cardwright profile`.
pub fn run(command: &ProfileCommand) -> Result<Exit, Failure> {
    match command {
        ProfileCommand::List => {
            for (name, _) in LINES {
                stdout::print(&format!("line     {name:<14} {}\n", LineProfile::load(name)?.description))?;
            }
            for (name, _) in PRODUCTS {
                stdout::print(&format!("product  {name:<14} {}\n", ProductProfile::load(name)?.description))?;
            }
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
