//! `cardwright profile list | show P | new NAME | check FILE`: lists, prints, begins and checks profiles.
//!
//! Not here: the sample card of a check (`bureau::dry_run`).

use std::path::{Path, PathBuf};

use super::suggested;
use crate::bureau::dry_run::{DryRun, PlannedApplication, dry_run};
use crate::bureau::key_host::socket_directory;
use crate::bureau::line::simulator::{Simulation, Simulator};
use crate::bureau::line::stations;
use crate::exit::{Exit, Failure};
use crate::modules::LineProfile;
use crate::modules::template::{self, GraphicsTemplate};
use crate::prep::plan::PrepPlan;
use crate::profile::{ProductProfile, graphics, own};
use crate::stdout;

/// The commands of `cardwright profile`.
#[derive(Debug, clap::Subcommand)]
pub enum ProfileCommand {
    /// The shipped lines, products and graphics templates, and those in the folder of CARDWRIGHT_PROFILES.
    List,
    /// Print a line or product as it is.
    Show {
        /// A shipped name, one of the folder of CARDWRIGHT_PROFILES, or a .toml file.
        #[arg(value_name = "P")]
        profile: String,
    },
    /// Begin a profile of your own with a copy of a line or product; it goes into the folder of CARDWRIGHT_PROFILES, or,
    /// without one, into this folder. A file that exists is not written over.
    New {
        /// Its name: letters A to Z, digits, - and _.
        name: String,
        /// What to copy: a shipped name, one of the folder of CARDWRIGHT_PROFILES, or a .toml file.
        #[arg(long, value_name = "P")]
        from: String,
    },
    /// Load and check a profile file: a line (it has `[[module]]`), a product, or one side of a graphics template. For a
    /// product with `[prep]`, also prepare a sample card and plan every command to its chip.
    Check {
        /// A .toml file, or an .svg file.
        file: PathBuf,
    },
}

/// Carries out a command of `cardwright profile`.
pub fn run(command: &ProfileCommand) -> Result<Exit, Failure> {
    match command {
        ProfileCommand::List => list()?,
        ProfileCommand::Show { profile } => stdout::print(&own::text_of(profile)?.text)?,
        ProfileCommand::New { name, from } => {
            let path = own::begin(name, from)?;
            let path = path.display();
            stdout::print(&format!(
                "{path}\nnext: change it, then {}\n",
                suggested::command(format!("profile check {path}"))
            ))?;
        }
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
            if table.contains_key("module") {
                check_line(&text, &origin)?;
            } else {
                check_product(&text, file)?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn check_line(text: &str, origin: &str) -> Result<(), Failure> {
    let line = LineProfile::from_toml(text, origin)?;
    stations::check(&line)?;
    if line.sim.is_some() {
        simulated(text, origin)?;
    }
    stdout::print(&format!("line {}: no fault found\n", line.name))
}

/// Checks a product; one with `[prep]` also by a sample card.
fn check_product(text: &str, file: &Path) -> Result<(), Failure> {
    let product = ProductProfile::from_toml(text, &file.display().to_string())?;
    product.check_place(file)?;
    let name = product.name.clone();
    if product.prep.is_none() {
        return stdout::print(&format!(
            "product {name}: no fault found; it has no [prep], so no sample card was made\n"
        ));
    }
    PrepPlan::load(&product)?;
    let DryRun { sections, applications } = dry_run(product)?;
    let sections: Vec<_> = sections.iter().map(ToString::to_string).collect();
    let mut said = format!("sample card: {}\n", sections.join(", "));
    for PlannedApplication { aid, commands, last } in &applications {
        let last = last.map_or_else(|| "none".to_owned(), |dgi| dgi.to_string());
        said += &format!("application {aid}: {commands} commands, the last DGI is {last}\n");
    }
    stdout::print(&format!("{said}product {name}: no fault found\n"))
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
