//! The numbers of what a policy names: units, devices and clients, in the order of the file.

use toml::Spanned;

use super::Policy;
use crate::refusal::Refusal;

impl Policy {
    /// The number of the unit `name`.
    pub(super) fn unit_number(&self, name: &Spanned<String>) -> Result<usize, Refusal> {
        let mut units = self.source.unit.iter();
        units.position(|unit| unit.get_ref().name.get_ref() == name.get_ref()).ok_or_else(|| {
            self.refuse(name, format!("there is no unit '{}'; add a [[unit]] of that name", name.get_ref()))
        })
    }

    /// The number of the device `name`.
    pub(super) fn device_number(&self, name: &Spanned<String>) -> Result<usize, Refusal> {
        let mut devices = self.source.device.iter();
        devices.position(|device| device.get_ref().name.get_ref() == name.get_ref()).ok_or_else(|| {
            self.refuse(
                name,
                format!("there is no device '{}'; add a [[device]] of that name", name.get_ref()),
            )
        })
    }

    /// The number of the client whose protection domain is `name`.
    pub(super) fn client_number(&self, name: &Spanned<String>) -> Result<usize, Refusal> {
        let mut clients = self.source.client.iter();
        clients.position(|client| client.get_ref().pd.get_ref() == name.get_ref()).ok_or_else(|| {
            self.refuse(
                name,
                format!("there is no client '{}'; add a [[client]] with that pd", name.get_ref()),
            )
        })
    }
}
