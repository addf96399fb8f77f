//! Every machine driver by name: its family, the links that it needs, its abilities, and how it is made.
//!
//! Not here: opening links (the composition root does), card readers (one driver over a
//! [`crate::link::CardLink`] serves them all) and card transports. If a line needs an ability that its driver
//! does not declare, it is refused when it is opened, before a card is touched.

use std::fmt;

use crate::embosser::{self, CardEmbosser};
use crate::identity::MachineIdentity;
use crate::link::ByteLink;
use crate::printer::{self, CardPrinter};
use crate::stripe::{StripeEncoder, mse630, msr605};

/// Every driver. A module that names none gets the first of its family.
pub const DRIVERS: &[Driver] = &[
    Driver {
        name: "msr605",
        model: "MSR605, MSR206, MSRE206",
        baud: msr605::BAUD,
        capabilities: msr605::CAPABILITIES,
        make: DriverConstructor::Stripe(|serial| Box::new(msr605::Msr605::new(serial))),
    },
    Driver {
        name: "mse630",
        model: "MSE-630T",
        baud: mse630::BAUD,
        capabilities: mse630::CAPABILITIES,
        make: DriverConstructor::Stripe(|serial| Box::new(mse630::Mse630::new(serial))),
    },
    Driver {
        name: "card-printer",
        model: "framed card printer with a link for images",
        baud: printer::framed::BAUD,
        capabilities: printer::framed::CAPABILITIES,
        make: DriverConstructor::Printer(|serial, stream| {
            Box::new(printer::framed::FramedPrinter::new(serial, stream))
        }),
    },
    Driver {
        name: "embosser",
        model: "framed embosser with indent wheel",
        baud: embosser::framed::BAUD,
        capabilities: embosser::framed::CAPABILITIES,
        make: DriverConstructor::Embosser(|serial| Box::new(embosser::framed::FramedEmbosser::new(serial))),
    },
];

/// A link of any kind.
pub type BoxLink = Box<dyn ByteLink>;

/// A driver: its name, its machines, and their abilities.
pub struct Driver {
    /// Name in a line profile.
    pub name: &'static str,
    /// The machines that it drives, in words for people.
    pub model: &'static str,
    /// Bit/s of its serial link, unless the line profile gives another rate.
    pub baud: u32,
    /// The machine's abilities.
    pub capabilities: &'static [Capability],
    make: DriverConstructor,
}

/// Function that makes the driver from the links that it needs.
enum DriverConstructor {
    Stripe(fn(BoxLink) -> Box<dyn StripeEncoder>),
    Printer(fn(BoxLink, BoxLink) -> Box<dyn CardPrinter>),
    Embosser(fn(BoxLink) -> Box<dyn CardEmbosser>),
}

/// A driver that was made, on its links.
pub enum DrivenMachine {
    /// A magnetic stripe encoder.
    Stripe(Box<dyn StripeEncoder>),
    /// A card printer.
    Printer(Box<dyn CardPrinter>),
    /// An embosser.
    Embosser(Box<dyn CardEmbosser>),
}

impl DrivenMachine {
    /// Its identity, which distinguishes it from other machines of its model; `None` if it notices cards.
    pub fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        match self {
            Self::Stripe(encoder) => encoder.identity(),
            Self::Printer(printer) => printer.identity(),
            Self::Embosser(embosser) => embosser.identity(),
        }
    }
}

/// A family of machines: one trait, one kind of module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Magnetic stripe encoders.
    Stripe,
    /// Card printers.
    Printer,
    /// Embossers.
    Embosser,
}

/// Purpose of a link that a driver needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRole {
    /// Commands and status.
    Serial,
    /// Images.
    Stream,
}

/// An ability of machines that lines need and some machines lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability {
    /// Stripe: writes track 1.
    Track1,
    /// Stripe: writes track 2.
    Track2,
    /// Stripe: writes track 3.
    Track3,
    /// Stripe: plastic of ISO 7811-6.
    HiCo,
    /// Stripe: plastic of ISO 7811-2.
    LoCo,
    /// Stripe: reads the stripe.
    ReadBack,
    /// Stripe: erases tracks.
    Erase,
    /// Stripe: reads and writes bits.
    Raw,
    /// Stripe: the density of each track can be set.
    Density,
    /// Stripe: the clocking zeros can be set.
    LeadingZeros,
    /// Stripe: reports its settings.
    ReportsSettings,
    /// Printer: prints the front.
    Front,
    /// Printer: prints the back.
    Back,
    /// Printer: prints in full colour.
    FullColour,
    /// Embosser: embosses in relief, fonts 1 (names) and 2 (numbers).
    Emboss,
    /// Embosser: indent prints, font 10.
    Indent,
    /// Gives its serial number.
    Number,
    /// Notices that a card comes.
    NoticesCards,
}

impl Driver {
    /// The family of its machines.
    pub fn family(&self) -> Family {
        match self.make {
            DriverConstructor::Stripe(_) => Family::Stripe,
            DriverConstructor::Printer(_) => Family::Printer,
            DriverConstructor::Embosser(_) => Family::Embosser,
        }
    }

    /// The links that it needs, in the order in which it takes them.
    pub fn wires(&self) -> &'static [LinkRole] {
        match self.make {
            DriverConstructor::Stripe(_) | DriverConstructor::Embosser(_) => &[LinkRole::Serial],
            DriverConstructor::Printer(_) => &[LinkRole::Serial, LinkRole::Stream],
        }
    }

    /// Makes the driver on the links that `open` returns; `open` is called once for each of [`Self::wires`].
    pub fn open<E>(&self, mut open: impl FnMut(LinkRole) -> Result<BoxLink, E>) -> Result<DrivenMachine, E> {
        Ok(match self.make {
            DriverConstructor::Stripe(make) => DrivenMachine::Stripe(make(open(LinkRole::Serial)?)),
            DriverConstructor::Printer(make) => {
                DrivenMachine::Printer(make(open(LinkRole::Serial)?, open(LinkRole::Stream)?))
            }
            DriverConstructor::Embosser(make) => DrivenMachine::Embosser(make(open(LinkRole::Serial)?)),
        })
    }

    /// Whether the machine can do this.
    pub fn can(&self, what: Capability) -> bool {
        self.capabilities.contains(&what)
    }

    /// Fails, in a technician's words, if the machine lacks a needed ability.
    pub fn check(&self, needs: &[Capability]) -> Result<(), String> {
        let lacks: Vec<String> = needs.iter().filter(|n| !self.can(**n)).map(ToString::to_string).collect();
        if lacks.is_empty() {
            return Ok(());
        }
        let able = family(self.family()).filter(|d| needs.iter().all(|n| d.can(*n))).map(|d| d.name);
        let able: Vec<&str> = able.collect();
        let instead = match able.as_slice() {
            [] => "no driver can".to_owned(),
            names => format!("{} can", names.join(" or ")),
        };
        let (name, model) = (self.name, self.model);
        Err(format!("driver {name} ({model}) cannot {}; {instead}", lacks.join(", ")))
    }
}

/// The drivers of a family.
fn family(family: Family) -> impl Iterator<Item = &'static Driver> {
    DRIVERS.iter().filter(move |d| d.family() == family)
}

/// Returns the driver of this name, or the first of the family. The error lists the names of the family.
pub fn find(of: Family, name: Option<&str>) -> Result<&'static Driver, String> {
    family(of).find(|d| name.is_none_or(|name| d.name == name)).ok_or_else(|| {
        let known: Vec<&str> = family(of).map(|d| d.name).collect();
        let name = name.unwrap_or_default();
        format!("no {of} driver is called {name:?}; there are {}", known.join(", "))
    })
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stripe => "stripe",
            Self::Printer => "printer",
            Self::Embosser => "embosser",
        })
    }
}

/// Words that follow "it can" and "it cannot".
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Track1 => "write track 1",
            Self::Track2 => "write track 2",
            Self::Track3 => "write track 3",
            Self::HiCo => "write HiCo plastic",
            Self::LoCo => "write LoCo plastic",
            Self::ReadBack => "read back what it wrote",
            Self::Erase => "erase",
            Self::Raw => "read and write bits",
            Self::Density => "set the density",
            Self::LeadingZeros => "set the leading zeros",
            Self::ReportsSettings => "report its settings",
            Self::Front => "print the front",
            Self::Back => "print the back",
            Self::FullColour => "print in full colour",
            Self::Emboss => "emboss",
            Self::Indent => "print indent",
            Self::Number => "give its serial number",
            Self::NoticesCards => "notice cards",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::Script;

    #[test]
    fn names_are_unique_and_every_driver_can_be_made() {
        let names: BTreeSet<&str> = DRIVERS.iter().map(|d| d.name).collect();
        assert_eq!(names.len(), DRIVERS.len());
        for driver in DRIVERS {
            let mut asked = vec![];
            let made = driver.open(|wire| {
                asked.push(wire);
                Ok::<_, ()>(Box::new(Script::new().build().0) as BoxLink)
            });
            let mut made = made.unwrap();
            let told_apart = made.identity().is_some();
            assert_ne!(told_apart, driver.can(Capability::NoticesCards), "{}", driver.name);
            let family = match made {
                DrivenMachine::Stripe(_) => Family::Stripe,
                DrivenMachine::Printer(_) => Family::Printer,
                DrivenMachine::Embosser(_) => Family::Embosser,
            };
            assert_eq!((family, asked.as_slice()), (driver.family(), driver.wires()), "{}", driver.name);
            assert!(!driver.capabilities.is_empty() && driver.baud >= 1200);
        }
    }

    #[test]
    fn a_driver_is_found_by_name_within_its_family() {
        let name = |family, name| find(family, name).map(|d| d.name);
        assert_eq!(name(Family::Stripe, None), Ok("msr605"));
        assert_eq!(name(Family::Printer, None), Ok("card-printer"));
        assert_eq!(name(Family::Embosser, None), Ok("embosser"));
        assert_eq!(name(Family::Stripe, Some("mse630")), Ok("mse630"));
        assert_eq!(
            name(Family::Stripe, Some("embosser")),
            Err("no stripe driver is called \"embosser\"; there are msr605, mse630".into())
        );
    }

    #[test]
    fn a_missing_ability_is_named_with_the_driver_that_has_it() {
        let mse630 = find(Family::Stripe, Some("mse630")).unwrap();
        assert_eq!(mse630.check(&[Capability::Track1, Capability::HiCo]), Ok(()));
        assert_eq!(
            mse630.check(&[Capability::HiCo, Capability::ReadBack, Capability::Erase]),
            Err("driver mse630 (MSE-630T) cannot read back what it wrote, erase; msr605 can".into())
        );
        let said = mse630.check(&[Capability::Emboss]).unwrap_err();
        assert!(said.ends_with("cannot emboss; no driver can"), "{said}");
    }
}
