//! Invalidation descriptors and what they name (6.5.2).

use super::{config::Config, tlb::Scope};
use crate::fields::{bits, mask};

/// Which cached context entries an invalidation removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContextScope {
    All,
    Domain(u16),
    /// A device under a domain id; set bits of the mask are not compared.
    Device {
        domain: u16,
        source: u16,
        mask: u16,
    },
}

impl ContextScope {
    /// Whether it names the entry of `source` that is tagged with `domain`; scalable-mode entries have no tag.
    pub const fn names(&self, source: u16, domain: Option<u16>) -> bool {
        match (*self, domain) {
            (Self::All, _) => true,
            (Self::Domain(named), Some(domain)) => named == domain,
            (Self::Domain(_), None) => false,
            (Self::Device { domain: named, source: of, mask }, tag) => {
                let tagged = match tag {
                    Some(domain) => named == domain,
                    None => true,
                };
                tagged && source & !mask == of & !mask
            }
        }
    }

    /// The scope of CIRG and of a descriptor's G, with the function mask of FM.
    pub fn new(granularity: u64, domain: u64, source: u64, function_mask: u64) -> Option<Self> {
        let mask = [0b000, 0b100, 0b110, 0b111][function_mask as usize];
        match granularity {
            0b01 => Some(Self::All),
            0b10 => Some(Self::Domain(domain as u16)),
            0b11 => Some(Self::Device { domain: domain as u16, source: source as u16, mask }),
            _ => None,
        }
    }
}

/// Which cached PASID-table entries an invalidation removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PasidScope {
    All,
    Domain(u16),
    Pasid(u16, u32),
}

impl PasidScope {
    /// Whether it names the entry of `pasid` that is tagged with `domain`. One that is not present has no tag,
    /// and any domain names it.
    pub fn names(&self, pasid: u32, domain: Option<u16>) -> bool {
        match *self {
            Self::All => true,
            Self::Domain(of) => domain.is_none_or(|domain| of == domain),
            Self::Pasid(of, named) => domain.is_none_or(|domain| of == domain) && named == pasid,
        }
    }
}

/// Which cached interrupt entries an invalidation removes: none named, all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InterruptScope(pub Option<(u16, u32)>);

impl InterruptScope {
    pub fn names(&self, index: u16) -> bool {
        self.0.is_none_or(|(first, mask_lg2)| index >> mask_lg2.min(15) == first >> mask_lg2.min(15))
    }
}

/// What an invalidation removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removes {
    Contexts(ContextScope),
    Pasids(PasidScope),
    Translations(Scope),
    Interrupts(InterruptScope),
    /// Something that the unit has no cache for.
    Nothing,
}

/// A descriptor, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Descriptor {
    Invalidate(Removes),
    Wait {
        interrupt: bool,
        /// Address and value of the status write.
        status: Option<(u64, u32)>,
    },
}

/// Why a descriptor is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// The addresses of an invalidation by page; `None`: mask or alignment are not possible.
pub(super) fn pages(config: &Config, domain: u16, address: u64) -> Option<Scope> {
    if !config.page_selective {
        return Some(Scope::Domain(domain));
    }
    let mask_lg2 = bits(address, 0, 5) as u32;
    if mask_lg2 > config.max_address_mask {
        return None;
    }
    let (first, last) = (address & mask(12, 63), (1u64 << (12 + mask_lg2)) - 1);
    assert_eq!(
        first & last,
        0,
        "IOTLB invalidation of {first:#x}: not aligned to its mask {mask_lg2} (6.5.2.3)"
    );
    Some(Scope::Pages { domain, first, last: first | last, tables: bits(address, 6, 6) == 0 })
}

/// Decodes a descriptor of 128 or 256 bits.
pub(super) fn decode(config: &Config, scalable: bool, words: [u64; 4]) -> Result<Descriptor, Refused> {
    use Descriptor::{Invalidate, Wait};
    let [low, high, ..] = words;
    let only = |defined: u64, defined_high: u64| {
        let defined = defined | mask(0, 3) | mask(9, 11);
        let rest = low & !defined | high & !defined_high | words[2] | words[3];
        if rest == 0 { Ok(()) } else { Err(Refused) }
    };
    let domain = bits(low, 16, 31);
    let in_range = || if config.is_domain(domain) { Ok(domain as u16) } else { Err(Refused) };
    let granularity = bits(low, 4, 5);
    match bits(low, 0, 3) | bits(low, 9, 11) << 4 {
        1 => {
            only(mask(4, 5) | mask(16, 49), 0)?;
            in_range()?;
            let scope = ContextScope::new(granularity, domain, bits(low, 32, 47), bits(low, 48, 49))
                .ok_or(Refused)?;
            assert!(
                !scalable || !matches!(scope, ContextScope::Domain(_)),
                "context-cache invalidation by domain in scalable mode, where entries have none (6.5.2.1)"
            );
            Ok(Invalidate(Removes::Contexts(scope)))
        }
        2 => {
            only(mask(4, 7) | mask(16, 31), mask(0, 6) | mask(12, 63))?;
            let domain = in_range()?;
            let scope = match granularity {
                0b01 => Scope::All,
                0b10 => Scope::Domain(domain),
                0b11 => pages(config, domain, high).ok_or(Refused)?,
                _ => return Err(Refused),
            };
            Ok(Invalidate(Removes::Translations(scope)))
        }
        4 if config.interrupt_remapping => {
            only(mask(4, 4) | mask(27, 31) | mask(32, 47), 0)?;
            let one = (bits(low, 32, 47) as u16, bits(low, 27, 31) as u32);
            if bits(low, 4, 4) == 1 && one.1 > 15 {
                return Err(Refused);
            }
            Ok(Invalidate(Removes::Interrupts(InterruptScope((bits(low, 4, 4) == 1).then_some(one)))))
        }
        5 => {
            only(mask(4, 6) | mask(32, 63), mask(2, 63))?;
            let status = (bits(low, 5, 5) == 1).then_some((high, bits(low, 32, 63) as u32));
            Ok(Wait { interrupt: bits(low, 4, 4) == 1, status })
        }
        6 if config.scalable => {
            only(mask(4, 5) | mask(16, 51), mask(0, 6) | mask(12, 63))?;
            in_range()?;
            // It names first-stage translations; there are none.
            if granularity < 0b10 { Err(Refused) } else { Ok(Invalidate(Removes::Nothing)) }
        }
        7 if config.scalable => {
            only(mask(4, 5) | mask(16, 51), 0)?;
            let domain = in_range()?;
            let scope = match granularity {
                0b00 => PasidScope::Domain(domain),
                0b01 => PasidScope::Pasid(domain, bits(low, 32, 51) as u32),
                0b11 => PasidScope::All,
                _ => return Err(Refused),
            };
            Ok(Invalidate(Removes::Pasids(scope)))
        }
        _ => Err(Refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(low: u64, high: u64) -> Result<Descriptor, Refused> {
        decode(&Config::default(), false, [low, high, 0, 0])
    }

    fn translations(scope: Scope) -> Result<Descriptor, Refused> {
        Ok(Descriptor::Invalidate(Removes::Translations(scope)))
    }

    #[test]
    fn each_kind_is_told_apart() {
        let contexts = |scope| Ok(Descriptor::Invalidate(Removes::Contexts(scope)));
        assert_eq!(of(0x11, 0), contexts(ContextScope::All));
        assert_eq!(of(0x5_0021, 0), contexts(ContextScope::Domain(5)));
        let device = ContextScope::Device { domain: 5, source: 0x18, mask: 0b110 };
        assert_eq!(of(0x2_0018_0005_0031, 0), contexts(device));
        assert_eq!(of(0xd2, 0), translations(Scope::All));
        assert_eq!(of(0x5_00e2, 0), translations(Scope::Domain(5)));
        let pages = Scope::Pages { domain: 5, first: 0x4000, last: 0x7fff, tables: true };
        assert_eq!(of(0x5_00f2, 0x4002), translations(pages));
        assert_eq!(
            of(0x7_0000_0025, 0x1000),
            Ok(Descriptor::Wait { interrupt: false, status: Some((0x1000, 7)) })
        );
        assert_eq!(of(0x15, 0), Ok(Descriptor::Wait { interrupt: true, status: None }));
    }

    #[test]
    fn what_is_reserved_is_refused() {
        for (low, high) in [
            (0x0, 0),
            (0x1, 0),
            (0x8, 0),
            (0x51, 0),
            (0x1011, 0),
            (0x11, 1),
            (0xc2, 0),
            (0x1d2, 0),
            (0x5_00f2, 0x4000 | 19),
            (0x5_00f2, 0x4080),
            (0x1025, 0),
            (0x25, 1),
            (0x3, 0),
            (0x7, 0),
            (0x26, 0),
            (0x211, 0),
        ] {
            assert_eq!(of(low, high), Err(Refused), "{low:#x} {high:#x}");
        }
        assert_eq!(decode(&Config::default(), false, [0x11, 0, 1, 0]), Err(Refused));
    }

    #[test]
    #[should_panic(expected = "not aligned to its mask")]
    fn pages_are_aligned_to_their_mask() {
        let _ = of(0x5_00f2, 0x5001);
    }

    #[test]
    fn interrupts_are_named_by_powers_of_two() {
        let scope = InterruptScope(Some((4, 1)));
        assert_eq!([3, 4, 5, 6].map(|index| scope.names(index)), [false, true, true, false]);
        assert!(InterruptScope(None).names(9));
    }
}
