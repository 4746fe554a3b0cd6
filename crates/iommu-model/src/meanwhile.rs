//! What happens beside the driver.

use std::cell::RefCell;

/// Called at each moment at which the driver meets the unit.
pub(crate) struct Meanwhile(Box<dyn FnMut()>);

impl Meanwhile {
    pub fn new(happens: impl FnMut() + 'static) -> Self {
        Self(Box::new(happens))
    }

    /// Has happen what `of` finds in the machine; not within itself.
    pub fn happen<M>(machine: &RefCell<M>, of: fn(&mut M) -> &mut Option<Self>) {
        let Some(mut meanwhile) = of(&mut machine.borrow_mut()).take() else { return };
        meanwhile.0();
        of(&mut machine.borrow_mut()).get_or_insert(meanwhile);
    }
}
