//! Devices and the spaces that they are attached to.

use iommu_protocol::{DeviceIndex, Request, SpaceId, Status};

use crate::{
    ALL, DEVICE, PAGE, SECOND_DEVICE, SLOT0,
    bench::{
        ALICE, ALICES_DEVICE, ALICES_MEMORY, MEMORY_BYTES, PCI_HOST, READ, Unit, map, map_with,
        over_every_unit,
    },
    reaches, variants,
};

fn hwpt_attach(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        world.ok(ALICE, map(space, 0x100_0000, 0, PAGE));
        world.finish(ALICE, Request::Reset);
        let (first, second) = (world.space(ALICE), world.space(ALICE));
        let attach = |space| Request::Attach { space, device: DEVICE };
        world.ok(ALICE, attach(first));
        for space in [first, second] {
            assert_eq!(world.status(ALICE, attach(space)), Status::AlreadyAttached, "{variant}");
        }
        world.ok(ALICE, Request::Detach { device: DEVICE });
        assert_eq!(world.status(ALICE, Request::Detach { device: DEVICE }), Status::NotAttached, "{variant}");
        world.ok(ALICE, attach(second));
        world.ok(ALICE, Request::IoasDestroy { space: first });
        assert_eq!(world.status(ALICE, Request::IoasDestroy { space: second }), Status::Busy, "{variant}");
    }
}

/// A space is filled before a device comes, and what it maps is the same for all of its devices, the late ones too.
fn mock_domain_basic(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        world.ok(ALICE, map(space, 0x100_0000, 0, 2 * PAGE));
        for (device, stream) in [(DEVICE, ALICES_DEVICE), (DeviceIndex(1), SECOND_DEVICE)] {
            if world.ok(ALICE, Request::DeviceInfo { device }).get(1) == 0 {
                assert!(
                    world.bench.translate(stream, 0x100_0000, false).is_err(),
                    "{variant}: blocked, not bypass"
                );
                world.ok(ALICE, Request::Attach { space, device });
            }
            for page in 0..2 {
                let at = world.bench.translate(stream, 0x100_0000 + page * PAGE, true);
                assert_eq!(at, Ok(ALICES_MEMORY + page * PAGE), "{variant}");
            }
        }
        // Nothing of a source that ends too early, whichever page it is that is missing.
        for (offset, pages) in [(MEMORY_BYTES - PAGE, 2), (MEMORY_BYTES, 1)] {
            let request = map(space, 0x200_0000, offset, pages * PAGE);
            assert_eq!(world.status(ALICE, request), Status::OutOfRegion, "{variant}");
            assert_eq!(reaches(&world, 0x200_0000), (None, None), "{variant}");
        }
        world.ok(ALICE, Request::Detach { device: DEVICE });
        assert_eq!(reaches(&world, 0x100_0000), (None, None), "{variant}: blocked again");
        let second = world.bench.translate(SECOND_DEVICE, 0x100_0000, true);
        assert_eq!(second, Ok(ALICES_MEMORY), "{variant}: the other one goes on");
        assert_eq!(world.finish(ALICE, ALL(space)), 2 * PAGE);
        assert!(world.bench.translate(SECOND_DEVICE, 0x100_0000, true).is_err(), "{variant}");
    }
}

/// What is mapped read-only is read-only, beside a mapping of the same page that is not.
fn ro_unshare(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        if world.ok(ALICE, Request::DeviceInfo { device: DEVICE }).get(1) == 0 {
            world.ok(ALICE, Request::Attach { space, device: DEVICE });
        }
        world.ok(ALICE, map_with(space, SLOT0, READ, [0x100_0000, 0, PAGE]));
        world.ok(ALICE, map(space, 0x200_0000, 0, PAGE));
        assert_eq!(reaches(&world, 0x100_0000), (Some(ALICES_MEMORY), None), "{variant}");
        assert_eq!(reaches(&world, 0x200_0000), (Some(ALICES_MEMORY), Some(ALICES_MEMORY)), "{variant}");
    }
}

fn replace(unit: &Unit) {
    for (variant, mut world, _) in variants(unit) {
        world.finish(ALICE, Request::Reset);
        let second = world.space(ALICE);
        let to = |space| Request::Replace { space, device: DEVICE };
        assert_eq!(world.status(ALICE, to(second)), Status::NotAttached, "{variant}");
        world.ok(ALICE, map(second, 0x100_0000, PAGE, PAGE));
        let third = world.space(ALICE);
        world.ok(ALICE, map(third, 0x100_0000, 2 * PAGE, PAGE));
        world.ok(ALICE, Request::Attach { space: second, device: DEVICE });
        for (space, offset) in [(second, PAGE), (third, 2 * PAGE), (third, 2 * PAGE), (second, PAGE)] {
            world.ok(ALICE, to(space));
            let at = ALICES_MEMORY + offset;
            assert_eq!(reaches(&world, 0x100_0000), (Some(at), Some(at)), "{variant}");
            let attached = world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 });
            assert_eq!(attached.as_slice(), [1], "{variant}");
        }
        // A REPLACE that fails leaves the old attachment.
        assert_eq!(world.status(ALICE, to(SpaceId(15))), Status::NoSuchSpace, "{variant}");
        assert_eq!(reaches(&world, 0x100_0000).1, Some(ALICES_MEMORY + PAGE), "{variant}");
        assert_eq!(world.status(ALICE, Request::IoasDestroy { space: second }), Status::Busy, "{variant}");
        world.ok(ALICE, Request::IoasDestroy { space: third });
    }
}

over_every_unit!(hwpt_attach, mock_domain_basic, ro_unshare, replace,);
