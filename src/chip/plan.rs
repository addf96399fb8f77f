//! The plan of a session: every command after EXTERNAL AUTHENTICATE, before wrapping.
//!
//! Rules: EMV CPS 4.3.4 and 4.3.5, GPCS 11.11 (STORE DATA), `src/manual/cwf1.md` (chip section). The plan is a
//! pure function of application, product and the lengths that the HSM found, so it can be made before a card comes.
//!
//! Where CPS leaves a choice: a command never mixes secret and clear values (P1 b7 b6 = 01 is not used), a DGI of
//! VERCNTL has a command of its own, and the command that ends a long DGI carries nothing else.

use crate::hsm::{DataPart, PlainCommand, VerifiedApplication};
use crate::ids::{Aid, Dgi};
use crate::profile::product;
use crate::record::chip::{ChipApplication, Cmode, DgiValue, EncType};
use crate::scp::SecureChannel;

use super::order;
use super::pack::{CommandPacker, PackedDgi};
use super::status::CommandPhase;

/// The commands of one application, in order.
pub struct ChipPlan {
    /// From the first STORE DATA on; at least one.
    pub steps: Vec<PlanStep>,
}

/// One command of a plan.
#[derive(Debug)]
pub struct PlanStep {
    /// The command, in the clear.
    pub command: PlainCommand,
    /// Which answers let the session go on: see [`super::status::judge`].
    pub phase: CommandPhase,
    /// DGIs whose last byte this command carries, with the length of the value as the card gets it.
    pub ends: Vec<(Dgi, u16)>,
}

/// Why there is no plan: the application's processing instructions and data do not fit each other or the card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to send: the last STORE DATA would have nothing to carry.
    #[error("the application has no DGI")]
    Empty,
    /// An instruction that this program does not carry out.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// SECLEV of another kind of channel than the product's.
    #[error("SECLEV {level} is not a level of the product's channel, {channel}")]
    Level {
        /// SECLEV, hex.
        level: String,
        /// The product's channel.
        channel: String,
    },
    /// A list names a DGI that is not in the data.
    #[error("DGI {0} is named in the processing instructions but is not in the data")]
    Absent(Dgi),
    /// The same DGI twice in the data or in one list.
    #[error("DGI {0} stands twice")]
    Twice(Dgi),
    /// Under the TK and not in ENC, or in ENC and neither under the TK nor passed through.
    #[error("the protection of DGI {0} is inconsistent: ENC, transport key and product disagree")]
    Protection(Dgi),
    /// The HSM's answer lacks a protected DGI: a bug of ours.
    #[error("the HSM gave no length for DGI {0}")]
    NoLength(Dgi),
    /// A DGI of VERCNTL must fit one command: a card that refuses it would take the rest for other data.
    #[error(
        "DGI {dgi} may be refused (VERCNTL) but needs {length} bytes, and a command has room for {limit}"
    )]
    VersionControlLength {
        /// The DGI.
        dgi: Dgi,
        /// Header and value.
        length: usize,
        /// At this security level.
        limit: usize,
    },
    /// A GROUP that one STORE DATA cannot carry.
    #[error("the GROUP of DGI {dgi} needs {length} bytes, and a command has room for {limit}")]
    GroupLength {
        /// Its first member.
        dgi: Dgi,
        /// All headers and values.
        length: usize,
        /// At this security level.
        limit: usize,
    },
    /// A GROUP with secret and clear members.
    #[error("the GROUP of DGI {0} has secret and clear members")]
    GroupMixed(Dgi),
    /// A GROUP with a member that may be refused alone.
    #[error("DGI {0} may be refused (VERCNTL), so it cannot share a command with a GROUP")]
    GroupVersionControl(Dgi),
    /// ORDER wants a DGI between the members of a GROUP.
    #[error("ORDER and GROUP contradict each other")]
    OrderAgainstGroup,
}

/// Plans the session of a verified application.
pub fn plan(
    application: &ChipApplication,
    verified: &VerifiedApplication,
    product: &product::ApplicationProfile,
    channel: &SecureChannel,
) -> Result<ChipPlan, PlanError> {
    plan_with(application, product, channel, |value| {
        verified.protected.iter().find(|(dgi, _)| *dgi == value.dgi).map(|(_, length)| *length)
    })
}

/// The rules of [`plan`] as far as they can be known before the HSM has opened the values: for acceptance. Lengths of
/// protected values are the least that their ciphertexts can hold, so nothing is refused that would fit.
pub fn check(
    application: &ChipApplication,
    product: &product::ApplicationProfile,
    channel: &SecureChannel,
) -> Result<(), String> {
    plan_with(application, product, channel, |value| least_length(application, value, channel.block()))
        .map(|_| ())
        .map_err(|e| format!("application {}: {e}", application.aid))
}

/// A lower bound: no list of STORE DATA commands that keeps secret and clear values and VERCNTL apart can carry these
/// DGIs in fewer, whatever their order and even if every command were filled to the last byte. For measuring.
pub fn fewest_commands(
    application: &ChipApplication,
    verified: &VerifiedApplication,
    product: &product::ApplicationProfile,
    channel: &SecureChannel,
) -> usize {
    let limit = channel.room(application.pdi.level);
    let (mut clear, mut secret, mut alone) = (0usize, 0usize, 0usize);
    for value in &application.dgis {
        let on_card = verified.protected.iter().find(|(dgi, _)| *dgi == value.dgi);
        let length = on_card.map_or(value.value.len(), |(_, length)| usize::from(*length));
        let encoded = length + if length < 0xFF { 3 } else { 5 };
        if application.pdi.version_control.contains(&value.dgi) {
            alone += 1;
        } else if on_card.is_some() || product.pass_through.contains(&value.dgi) {
            secret += encoded;
        } else {
            clear += encoded;
        }
    }
    alone + clear.div_ceil(limit) + secret.div_ceil(limit)
}

fn plan_with(
    application: &ChipApplication,
    product: &product::ApplicationProfile,
    channel: &SecureChannel,
    protected_length: impl Fn(&DgiValue) -> Option<u16>,
) -> Result<ChipPlan, PlanError> {
    if application.pdi.update_cplc != 0x00 {
        return Err(PlanError::Unsupported("UPDATEcplc"));
    }
    let level = application.pdi.level;
    if !channel.has_level(level) {
        return Err(PlanError::Level { level: level.into(), channel: channel.to_string() });
    }
    let mut items = items(application, product, protected_length)?;
    let file: Vec<Dgi> = application.dgis.iter().map(|d| d.dgi).collect();
    let limit = channel.room(level);
    let mut packer = CommandPacker::new(limit, product.pack);
    for unit in order::units(&file, &application.pdi.order, &application.pdi.group)? {
        let mut members = Vec::with_capacity(unit.len());
        for dgi in &unit {
            members.push(items.remove(dgi).ok_or(PlanError::Absent(*dgi))?);
        }
        let grouped = application.pdi.group.iter().any(|g| unit.iter().any(|d| g.contains(d)));
        check_unit(&members, grouped, limit)?;
        packer.add(members);
    }
    let mut steps = packer.finish();
    finalize(&mut steps, &application.aid, product.finalize)?;
    Ok(ChipPlan { steps })
}

/// Every DGI with the facts that sending it needs.
fn items<'a>(
    application: &'a ChipApplication,
    product: &product::ApplicationProfile,
    protected_length: impl Fn(&DgiValue) -> Option<u16>,
) -> Result<std::collections::BTreeMap<Dgi, PackedDgi<'a>>, PlanError> {
    let pdi = &application.pdi;
    let mut items = std::collections::BTreeMap::new();
    for value in &application.dgis {
        let dgi = value.dgi;
        let under_tk = application.protected.contains(&dgi);
        let encrypt = pdi.enc.iter().any(|(d, _)| *d == dgi);
        let pass_through = product.pass_through.contains(&dgi);
        let (clear, length) = match (under_tk, encrypt, pass_through) {
            (true, false, _) | (false, true, false) => return Err(PlanError::Protection(dgi)),
            (true, true, _) => (None, protected_length(value).ok_or(PlanError::NoLength(dgi))?),
            (false, ..) => {
                let length = u16::try_from(value.value.len())
                    .map_err(|_| PlanError::Unsupported("a DGI of more than 65,535 bytes"))?;
                (Some(value.value.as_slice()), length)
            }
        };
        let secret = under_tk || pass_through;
        let may_refuse = pdi.version_control.contains(&dgi);
        let item = PackedDgi { dgi, length, clear, secret, may_refuse };
        if items.insert(dgi, item).is_some() {
            return Err(PlanError::Twice(dgi));
        }
    }
    let mut named =
        application.protected.iter().chain(pdi.enc.iter().map(|(d, _)| d)).chain(&pdi.version_control);
    if let Some(absent) = named.find(|d| !items.contains_key(d)) {
        return Err(PlanError::Absent(*absent));
    }
    if items.is_empty() { Err(PlanError::Empty) } else { Ok(items) }
}

/// The conditions of GROUP and VERCNTL on DGIs that share a command.
fn check_unit(members: &[PackedDgi<'_>], grouped: bool, limit: usize) -> Result<(), PlanError> {
    let Some(first) = members.first() else { return Ok(()) };
    let length = members.iter().map(PackedDgi::encoded_length).sum::<usize>();
    if members.iter().any(|m| m.secret != first.secret) {
        return Err(PlanError::GroupMixed(first.dgi));
    }
    if let Some(refusable) = members.iter().find(|m| m.may_refuse) {
        if members.len() > 1 {
            return Err(PlanError::GroupVersionControl(refusable.dgi));
        }
        if length > limit {
            return Err(PlanError::VersionControlLength { dgi: refusable.dgi, length, limit });
        }
    }
    if grouped && length > limit {
        return Err(PlanError::GroupLength { dgi: first.dgi, length, limit });
    }
    Ok(())
}

/// Ends personalization as the product's profile says.
fn finalize(steps: &mut Vec<PlanStep>, aid: &Aid, how: product::Finalize) -> Result<(), PlanError> {
    match how {
        product::Finalize::LastStoreData => {
            let last = steps.last_mut().ok_or(PlanError::Empty)?;
            last.command.p1 |= 0x80;
            // A card that refuses this one is not personalized, so it must not be taken for good.
            last.phase = CommandPhase::StoreData { may_refuse: false };
        }
        product::Finalize::SetStatus => steps.push(PlanStep {
            // GPCS 11.10: P1 40 = application; P2 07 is what applets of this style take (GPCS 11.1.1: application-specific states).
            command: PlainCommand {
                ins: 0xF0,
                p1: 0x40,
                p2: 0x07,
                data: vec![DataPart::Clear(aid.as_bytes().into())],
            },
            phase: CommandPhase::SetStatus,
            ends: Vec::new(),
        }),
    }
    Ok(())
}

/// The least that the card can get for a ciphertext under the TK, in whole blocks of its channel.
fn least_length(application: &ChipApplication, value: &DgiValue, card_block: u8) -> Option<u16> {
    let card_block = usize::from(card_block);
    let tk_block = if application.tk_type == 0x40 { 8 } else { 16 };
    let (_, enc) = application.pdi.enc.iter().find(|(dgi, _)| *dgi == value.dgi)?;
    let ciphertext = value.value.len();
    let plain = match application.cmode {
        Cmode::Cbc | Cmode::Ecb => ciphertext,
        // Padding takes 1 byte to a whole block.
        Cmode::CbcPadded | Cmode::EcbPadded => ciphertext.saturating_sub(tk_block),
    };
    let on_card = match enc {
        EncType::AsIs => plain,
        EncType::Pad => (plain / card_block + 1) * card_block,
        EncType::PinBlock => card_block,
    };
    u16::try_from(on_card).ok()
}
