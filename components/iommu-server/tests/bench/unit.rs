//! Which unit is under the server, and what of it shows in the server's answers.

use std::rc::Rc;

use iommu_model::board::Board;

use super::{smmu_v3, vtd};

/// What of a unit shows in the server's answers: taken from the unit's configuration and its document, not from the driver.
#[derive(Debug, Clone)]
pub struct Facts {
    /// KIND of the policy and of HW_INFO.
    pub kind: u32,
    /// HW_INFO's name of the table format.
    pub format: u64,
    pub input_bits: u32,
    pub output_bits: u32,
    pub page_sizes: u64,
    /// Table entries have to be cleaned.
    pub needs_clean: bool,
    /// The four words of HW_INFO's second entry.
    pub registers: [u64; 4],
    /// What no space of this unit may map, first and last.
    pub reserved: &'static [(u64, u64)],
    /// The format has entries that can be written and not read.
    pub write_only: bool,
    /// A MAP has something to invalidate: the unit may have cached that nothing was there.
    pub caches_absence: bool,
    /// As many faults wait in the hardware before one is dropped.
    pub fault_room: u64,
    /// The unit has to confirm an ATTACH of a device that was not attached.
    pub attach_waits: bool,
    /// The rule of a fault beyond the aperture, as a ring has it.
    pub beyond: u16,
    /// A fault's address is known as exactly as this.
    pub fault_granule: u64,
    /// A unit that is given up aborts what it has cached too; any other may go on using it, and nothing of it is released.
    pub forgets_when_given_up: bool,
    /// How long the driver waits for an invalidation, and for a register.
    pub wait_limit_ns: u64,
    pub register_limit_ns: u64,
    /// No call has the unit do more.
    pub commands_in_a_call: u64,
}

impl Facts {
    /// The last address of every space.
    pub fn aperture(&self) -> u64 {
        (1 << self.input_bits) - 1
    }

    /// What a fault's record says of `iova`.
    pub fn told(&self, iova: u64) -> u64 {
        iova & !(self.fault_granule - 1)
    }

    /// What may be mapped where `more` is reserved besides, upwards.
    pub fn usable(&self, more: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut reserved = [self.reserved, more].concat();
        reserved.sort_unstable();
        let (mut usable, mut from) = (vec![], Some(0));
        for (first, last) in reserved {
            let Some(start) = from else { break };
            if start < first && start <= self.aperture() {
                usable.push((start, (first - 1).min(self.aperture())));
            }
            from = last.checked_add(1).map(|next| next.max(start));
        }
        usable.extend(from.filter(|start| *start <= self.aperture()).map(|start| (start, self.aperture())));
        usable
    }
}

/// Which unit is under the server, and how it is made.
#[derive(Debug, Clone)]
pub struct Unit {
    pub name: &'static str,
    model: Model,
}

#[derive(Debug, Clone)]
enum Model {
    SmmuV3(iommu_model::smmu_v3::Config),
    Vtd(iommu_model::intel_vtd::Config),
}

impl From<iommu_model::smmu_v3::Config> for Unit {
    fn from(config: iommu_model::smmu_v3::Config) -> Self {
        Self { name: "SMMUv3", model: Model::SmmuV3(config) }
    }
}

impl From<iommu_model::intel_vtd::Config> for Unit {
    fn from(config: iommu_model::intel_vtd::Config) -> Self {
        Self { name: "VT-d", model: Model::Vtd(config) }
    }
}

impl Unit {
    /// An SMMUv3 with both stages.
    pub fn smmu_v3() -> Self {
        smmu_v3::usual().into()
    }

    /// A VT-d unit in legacy mode that does not snoop.
    pub fn vtd() -> Self {
        vtd::usual().into()
    }

    /// The same in caching mode.
    pub fn vtd_caching() -> Self {
        Self { name: "caching mode", ..vtd::caching().into() }
    }

    /// A VT-d unit as servers have it, in scalable mode.
    pub fn vtd_scalable() -> Self {
        Self { name: "scalable mode", ..vtd::scalable().into() }
    }

    /// This unit, and where it is the first of its kind, every other that its driver has a way for.
    pub fn kinds(&self) -> Vec<Self> {
        let others: Vec<Self> = match &self.model {
            Model::SmmuV3(_) => smmu_v3::others().map(|(name, it)| Self { name, ..it.into() }).into(),
            Model::Vtd(_) if self.name == Self::vtd().name => {
                vtd::others().map(|(name, it)| Self { name, ..it.into() }).into()
            }
            Model::Vtd(_) => vec![],
        };
        [vec![self.clone()], others].concat()
    }

    /// With tables in as much memory.
    pub fn table_bytes(mut self, bytes: u64) -> Self {
        match &mut self.model {
            Model::SmmuV3(config) => config.table_bytes = bytes,
            Model::Vtd(config) => config.table_bytes = bytes,
        }
        self
    }

    /// With a clock that moves on by as much at each look.
    pub fn clock_step_ns(mut self, step_ns: u64) -> Self {
        match &mut self.model {
            Model::SmmuV3(config) => config.clock_step_ns = step_ns,
            Model::Vtd(config) => config.clock_step_ns = step_ns,
        }
        self
    }

    pub fn board(&self) -> Rc<dyn Board> {
        match &self.model {
            Model::SmmuV3(config) => Rc::new(iommu_model::smmu_v3::Bench::new(config.clone())),
            Model::Vtd(config) => Rc::new(iommu_model::intel_vtd::Bench::new(config.clone())),
        }
    }

    pub fn facts(&self) -> Facts {
        match &self.model {
            Model::SmmuV3(config) => smmu_v3::facts(config),
            Model::Vtd(config) => vtd::facts(config),
        }
    }
}

/// Makes of each function a test over every unit: the test's path says over which.
#[allow(unused_macros)]
macro_rules! over_every_unit {
    ($($test:ident),+ $(,)?) => {
        crate::bench::over_every_unit!(@ smmu_v3 $($test)+);
        crate::bench::over_every_unit!(@ vtd $($test)+);
        crate::bench::over_every_unit!(@ vtd_caching $($test)+);
        crate::bench::over_every_unit!(@ vtd_scalable $($test)+);
    };
    (@ $unit:ident $($test:ident)+) => {
        mod $unit {
            $(
                #[test]
                fn $test() {
                    super::$test(&crate::bench::Unit::$unit());
                }
            )+
        }
    };
}

#[allow(unused_imports)] // Each test file uses its part.
pub(crate) use over_every_unit;
