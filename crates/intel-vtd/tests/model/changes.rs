//! Changes of entries and tables while devices are at work.

use super::*;

#[test]
fn streams_move_between_spaces_and_take_nothing_along() {
    for kind in kinds() {
        let mut board = start(&kind);
        let (one, two) = (board.space(1), board.space(2));
        for (space, pa) in [(&one, DATA), (&two, DATA + PAGE)] {
            board.map(space, IOVA, pa, 12, Rights::READ_WRITE);
        }
        for _ in 0..2 {
            board.attach(STREAM, &one);
            assert!(board.write_lands(STREAM, IOVA, DATA), "{kind:?}");
            board.attach(NEIGHBOUR, &one);
            assert!(board.write_lands(NEIGHBOUR, IOVA, DATA), "{kind:?}");
            board.attach(STREAM, &two);
            assert!(board.write_lands(STREAM, IOVA, DATA + PAGE), "{kind:?}");
            assert!(board.write_lands(NEIGHBOUR, IOVA, DATA), "the other one stays");
            board.block(NEIGHBOUR);
            board.block(STREAM);
            assert!(board.nothing_passes(IOVA), "{kind:?}");
        }
        // Another space under a tag that was in use.
        let three = board.space(1);
        board.attach(STREAM, &three);
        assert!(board.bench.dma_write(STREAM, IOVA, &[1]).is_err());
    }
}

#[test]
fn blocks_of_every_size_are_forgotten() {
    for kind in kinds() {
        let mut board = start(&kind);
        let space = board.attached();
        for size_lg2 in [12, 21, 30] {
            if space.geometry.page_sizes & 1 << size_lg2 == 0 {
                continue;
            }
            let iova = 4 << 30;
            board.map(&space, iova, 0x8000_0000, size_lg2, Rights::READ_WRITE);
            let inside = iova + (1 << size_lg2) - 16;
            assert!(board.write_lands(STREAM, inside, 0x8000_0000 + (1 << size_lg2) - 16));
            board.unmap(&space, iova, size_lg2, false);
            assert!(board.bench.dma_write(STREAM, inside, &[1; 16]).is_err(), "{size_lg2}, {kind:?}");
            // What is left of its tables goes, before the next one comes in their place.
            board.unmap(&space, iova, 30, true);
        }
    }
}

#[test]
fn tables_that_are_taken_out_are_forgotten_too() {
    for kind in kinds() {
        let mut board = start(&kind);
        let space = board.attached();
        let page = 0x60_0000;
        board.map(&space, page, DATA, 12, Rights::READ_WRITE);
        assert!(board.write_lands(STREAM, page, DATA));
        // The table of the last level goes, then another comes in its place.
        board.unmap(&space, page, 21, true);
        assert!(board.bench.dma_write(STREAM, page + PAGE, &[1]).is_err());
        assert!(board.bench.dma_write(STREAM, page, &[1]).is_err(), "{kind:?}");
        board.map(&space, page, DATA + PAGE, 12, Rights::READ_WRITE);
        assert!(board.write_lands(STREAM, page, DATA + PAGE), "{kind:?}");
    }
}

#[test]
fn what_was_found_absent_is_there_once_it_is_mapped() {
    for kind in kinds() {
        let mut board = start(&kind);
        assert!(board.bench.dma_write(STREAM, IOVA, &[1]).is_err(), "not attached");
        let space = board.attached();
        for iova in [IOVA, IOVA + PAGE, IOVA + (1 << 21), IOVA + (1 << 30)] {
            assert!(board.bench.dma_write(STREAM, iova, &[1]).is_err(), "not mapped");
            board.map(&space, iova, DATA, 12, Rights::READ_WRITE);
            assert!(board.write_lands(STREAM, iova, DATA), "{kind:?}");
        }
    }
}

#[test]
fn ranges_of_many_shapes_are_forgotten_whole() {
    for kind in [model::Config::default(), model::Config { max_address_mask: 2, ..model::Config::scalable() }]
    {
        let mut board = start(&kind);
        let space = board.attached();
        for (first, pages) in [(0, 1), (3, 5), (1, 64), (7, 300), (511, 2)] {
            for page in first..first + pages {
                board.map(&space, page * PAGE, DATA + page * PAGE, 12, Rights::READ_WRITE);
                assert!(board.write_lands(STREAM, page * PAGE, DATA + page * PAGE));
            }
            for page in first..first + pages {
                let Board { memory, frames, .. } = &mut board;
                tables::map(memory, frames, &space, page * PAGE, 0, 12, Rights::NONE);
            }
            board.invalidate(&space, first * PAGE, pages * PAGE, false);
            board.sync();
            for page in first..first + pages {
                assert!(board.bench.dma_write(STREAM, page * PAGE, &[1]).is_err(), "{page}");
            }
        }
    }
}
