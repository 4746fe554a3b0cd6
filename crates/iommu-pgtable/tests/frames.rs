//! The frame pool by itself.

mod common;

use common::{KIB4, ram::BASE};
use iommu_hal::{Completed, PhysAddr};
use iommu_pgtable::{FrameMeta, FramePool, OutOfFrames, Reservation, StaleFrames};

#[test]
fn a_refused_reservation_takes_nothing() {
    let mut meta = [FrameMeta::NEW; 4];
    let mut pool = FramePool::new(PhysAddr(BASE), 4 * KIB4, &mut meta);
    let three = pool.reserve(3).unwrap();
    assert_eq!(pool.reserve(2), Err(OutOfFrames { asked: 2, free: 1 }));
    assert_eq!(pool.reserve(u32::MAX), Err(OutOfFrames { asked: u32::MAX, free: 1 }));
    assert_eq!((pool.free(), pool.reserved()), (1, 3));
    let one = pool.reserve(1).unwrap();
    assert_eq!((pool.free(), pool.reserved()), (0, 4));
    assert_eq!(pool.reserve(0), Ok(Reservation::EMPTY));
    pool.release(three);
    pool.release(one);
    assert_eq!((pool.free(), pool.reserved()), (4, 0));
}

#[test]
fn the_smaller_of_memory_and_meta_is_the_capacity() {
    let mut meta = [FrameMeta::NEW; 4];
    assert_eq!(FramePool::new(PhysAddr(BASE), 3 * KIB4, &mut meta).capacity(), 3);
    assert_eq!(FramePool::new(PhysAddr(BASE), 9 * KIB4, &mut meta).capacity(), 4);
    assert_eq!(FramePool::new(PhysAddr(BASE), 0, &mut meta).capacity(), 0);
}

#[test]
fn recycling_nothing_changes_nothing() {
    let mut meta = [FrameMeta::NEW; 4];
    let mut pool = FramePool::new(PhysAddr(BASE), 4 * KIB4, &mut meta);
    let mut stale = StaleFrames::EMPTY;
    stale.append(&mut pool, StaleFrames::EMPTY);
    assert!(stale.is_empty());
    pool.recycle(stale, &Completed::by_hardware());
    assert_eq!(pool.free(), 4);
}

#[test]
fn the_meta_of_a_frame_is_small_and_lies_in_bss() {
    assert!(size_of::<FrameMeta>() <= 8);
    assert_eq!(format!("{:?}", FrameMeta::NEW).matches(|c: char| c.is_ascii_digit() && c != '0').count(), 0);
}
