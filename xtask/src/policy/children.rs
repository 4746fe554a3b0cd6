//! The rules of a supervisor that restarts its children: one that maps the blob which tells of them.

use supervisor::policy::MAX_CHILDREN;

use super::{check::Context, check::blob_region, check::find_pd};
use crate::{refusal::Refusal, restart::blob_name};

/// Checks all supervisors that restart their children.
pub(super) fn check(context: &Context<'_>) -> Result<(), Refusal> {
    let (policy, system) = (context.policy, context.system);
    for supervisor in &policy.source.supervisor {
        let name = &supervisor.get_ref().pd;
        let pd = find_pd(policy, system, name)?;
        let (of, blob) = (&system.pds[pd], blob_name(name.get_ref()));
        let fills =
            |region: &crate::sdf::Region| region.prefill.as_ref().is_some_and(|fill| fill.path == blob);
        if !of.maps.iter().any(|map| fills(&system.regions[map.region])) {
            continue;
        }
        blob_region(policy, system, name, pd, &blob)?;
        let children: Vec<_> = system
            .pds
            .iter()
            .filter(|child| child.parent.as_ref().is_some_and(|parent| parent.pd == pd))
            .collect();
        if children.is_empty() {
            return Err(policy.refuse(
                name,
                format!(
                    "'{}' has no children to restart; nest its clients in it, or leave '{blob}' out",
                    of.name
                ),
            ));
        }
        if children.len() > MAX_CHILDREN {
            return Err(policy.refuse(
                name,
                format!(
                    "'{}' has {} children, but a supervisor restarts {MAX_CHILDREN}; remove some",
                    of.name,
                    children.len()
                ),
            ));
        }
        if let Some(child) = children.iter().find(|child| child.priority >= of.priority) {
            return Err(policy.refuse(
                name,
                format!(
                    "'{}' (priority {}) must be above its child '{}' ({}), or could not stop it while it runs",
                    of.name, of.priority, child.name, child.priority
                ),
            ));
        }
        if let Some(child) = children.iter().find(|child| child.passive) {
            return Err(policy.refuse(
                name,
                format!(
                    "the child '{}' is passive: restarted, it would have no scheduling context to run on; remove \
                     passive=\"true\"",
                    child.name
                ),
            ));
        }
    }
    Ok(())
}
