//! Encodes applications and sections. [`super::walk`] checks every result before it is returned.

use zeroize::Zeroizing;

use super::error::{ChipError, ChipFault};
use super::rules::SectionScratch;
use super::view::{ApplicationView, VNL, at, walk};
use super::{ChipApplication, ChipSection, Pdi};
use crate::ids::{Aid, CardRef, Dgi};
use crate::tlv;

/// Returns the data of a CHP section, made from the AIDs and the bytes ([`ChipApplication::raw`]) of its applications.
pub fn chip_section<'a>(
    crn: Option<&CardRef>,
    applications: impl Iterator<Item = (&'a Aid, &'a [u8])> + Clone,
) -> Result<Zeroizing<Vec<u8>>, ChipError> {
    let mut card = Vec::new();
    put_l1(&mut card, crn.map_or(&[], |crn| crn.as_str().as_bytes()), "CRN")?;
    card.extend(b"00\x00");
    let count = u8::try_from(applications.clone().count());
    card.push(count.map_err(|_| at(0, ChipFault::TooLong("the list of AIDs")))?);
    for (aid, _) in applications.clone() {
        put_l1(&mut card, aid.as_bytes(), "AID")?;
    }
    let length = 2 + card.len() + applications.clone().map(|(_, raw)| 2 + raw.len()).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(VNL.len() + 2 + length));
    out.extend(VNL);
    put_length(&mut out, length, "the chip section")?;
    put_l2(&mut out, &card, "the list of AIDs")?;
    for (_, raw) in applications {
        put_l2(&mut out, raw, "an application")?;
    }
    walk(&out, &mut SectionScratch::default(), |_| Ok(()))?;
    Ok(out)
}

impl ChipSection {
    /// Returns the data of a CHP section, made from the fields of the applications without their `raw`.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, ChipError> {
        let encoded = self
            .applications
            .iter()
            .map(|a| a.encode().map(|raw| (&a.aid, raw)))
            .collect::<Result<Vec<_>, _>>()?;
        chip_section(self.crn.as_ref(), encoded.iter().map(|(aid, raw)| (*aid, raw.as_slice())))
    }
}

impl ChipApplication {
    /// Returns the bytes for [`Self::raw`], made from the other fields. Before the MAC is computed, `mac`
    /// holds as many zeros as it will have bytes. Refuses what [`Self::parse`] would refuse.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, ChipError> {
        let data = self.dgis.iter().map(|d| {
            // DGI, and 1 or 3 bytes of length.
            2 + if d.value.len() < 0xFF { 1 } else { 3 } + d.value.len()
        });
        let data = data.sum::<usize>();
        let mut ber = Vec::new();
        tlv::write_length(&mut ber, data).map_err(|_| at(0, ChipFault::TooLong("the data")))?;

        let mut head = Vec::new();
        put_l1(&mut head, self.aid.as_bytes(), "AID")?;
        put_l1(&mut head, &self.tk()?, "the TK's data")?;
        let [issuer @ .., _] = self.kek.0;
        let steps = self.pdi.steps()?;

        // Room for everything below: `head` and the MAC data have one length byte each, the other parts two.
        let bound =
            1 + 255 + 2 + 16 + steps.len() + 2 + 2 * self.log.len() + 2 + 1 + ber.len() + data + 1 + 255;
        let mut out = Zeroizing::new(Vec::with_capacity(bound));
        put_l1(&mut out, &head, "3a.1")?;
        put_length(&mut out, 1 + issuer.len() + 2 + steps.len(), "3a.2")?;
        put_l1(&mut out, &issuer, "IDowner")?;
        put_l2(&mut out, &steps, "the list of steps")?;
        put_l2(&mut out, &list(&self.log), "LOGDATA")?;
        put_length(&mut out, 1 + ber.len() + data, "the data")?;
        out.push(0xEF);
        out.extend(ber);
        for d in &self.dgis {
            tlv::dgi::write(&mut out, d.dgi, &d.value).map_err(|_| at(0, ChipFault::TooLong("the data")))?;
        }
        put_l1(&mut out, &[self.wrapped_mac_key.as_slice(), &self.mac].concat(), "MACdata")?;
        let view = ApplicationView::parse(&out, 0, &mut SectionScratch::default())?;
        if view.raw.len() > usize::from(u16::MAX) {
            return Err(at(0, ChipFault::TooLong("an application")));
        }
        Ok(out)
    }

    /// `01 | TKID | TYPEtk | CMODE | NUMBERdgi | { DGI }*`
    fn tk(&self) -> Result<Vec<u8>, ChipError> {
        let mut tk = vec![0x01];
        tk.extend(self.kek.0);
        tk.extend([self.tk_type, self.cmode.byte()]);
        let count = u8::try_from(self.protected.len());
        tk.push(count.map_err(|_| at(0, ChipFault::TooLong("the TK's data")))?);
        tk.extend(list(&self.protected));
        Ok(tk)
    }
}

impl Pdi {
    /// Returns the list of steps with its only step: `L2 { ACT 0F | REQ 01 | TAG EF | L2 PDI | Lpointer 0000
    /// }`.
    fn steps(&self) -> Result<Vec<u8>, ChipError> {
        let enc = self.enc.iter().flat_map(|(dgi, kind)| {
            let [a, b] = dgi.0.to_be_bytes();
            [a, b, kind.byte()]
        });
        let mut pdi = Vec::new();
        put_l2(&mut pdi, &groups(&self.order, "ORDER")?, "ORDER")?;
        put_l2(&mut pdi, &list(&self.version_control), "VERCNTL")?;
        put_l2(&mut pdi, &enc.collect::<Vec<_>>(), "ENC")?;
        put_l2(&mut pdi, &[], "RANDOM")?;
        put_l2(&mut pdi, &groups(&self.group, "GROUP")?, "GROUP")?;
        pdi.extend([self.level.byte(), self.update_cplc]);
        let mut step = vec![0x0F, 0x01, 0xEF];
        put_l2(&mut step, &pdi, "the PDI")?;
        step.extend([0x00, 0x00]);
        let mut steps = Vec::new();
        put_l2(&mut steps, &step, "the step")?;
        Ok(steps)
    }
}

fn list(dgis: &[Dgi]) -> Vec<u8> {
    dgis.iter().flat_map(|dgi| dgi.0.to_be_bytes()).collect()
}

fn groups(groups: &[Vec<Dgi>], name: &'static str) -> Result<Vec<u8>, ChipError> {
    let mut out = Vec::new();
    for group in groups {
        out.push(u8::try_from(group.len()).map_err(|_| at(0, ChipFault::TooLong(name)))?);
        out.extend(list(group));
    }
    Ok(out)
}

fn put_l1(out: &mut Vec<u8>, bytes: &[u8], name: &'static str) -> Result<(), ChipError> {
    out.push(u8::try_from(bytes.len()).map_err(|_| at(out.len(), ChipFault::TooLong(name)))?);
    out.extend_from_slice(bytes);
    Ok(())
}

fn put_length(out: &mut Vec<u8>, length: usize, name: &'static str) -> Result<(), ChipError> {
    let length = u16::try_from(length).map_err(|_| at(out.len(), ChipFault::TooLong(name)))?;
    out.extend(length.to_be_bytes());
    Ok(())
}

fn put_l2(out: &mut Vec<u8>, bytes: &[u8], name: &'static str) -> Result<(), ChipError> {
    put_length(out, bytes.len(), name)?;
    out.extend_from_slice(bytes);
    Ok(())
}
