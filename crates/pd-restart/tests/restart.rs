//! A program's memory, kept and put back, as arrays on a host.
#![allow(unsafe_code)] // The memory is given by address.

use pd_restart::{
    HEADER_BYTES, HeaderError, MAX_DATA_BYTES, MAX_SPANS, Save, SaveError, Span, headers_end, spans,
};

/// An ELF file's first bytes with program headers (type, flags, address, bytes of data, bytes in memory).
fn headers(entries: &[(u32, u32, u64, u64, u64)]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..5].copy_from_slice(b"\x7fELF\x02");
    bytes[32] = 64;
    bytes[54] = 56;
    bytes[56] = entries.len() as u8;
    for &(kind, flags, address, data, all) in entries {
        bytes.extend(kind.to_le_bytes().into_iter().chain(flags.to_le_bytes()));
        for word in [0, address, address, data, all, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn writable_segments_are_found() {
    let found = spans(&headers(&[
        (6, 4, 0x40, 0x100, 0x100),
        (1, 4, 0x20_0000, 0x100, 0x100),
        (1, 6, 0x21_0000, 8, 24),
        (1, 5, 0x22_0000, 0x100, 0x100),
        (1, 6, 0x23_0000, 0, 16),
        // The stack's rights, not loaded.
        (0x6474_e551, 6, 0, 0, 0),
    ]));
    let found = found.unwrap();
    assert_eq!(found[0], Span { address: 0x21_0000, data: 8, zeros: 16 });
    assert_eq!(found[1], Span { address: 0x23_0000, data: 0, zeros: 16 });
    assert!(found[2..].iter().all(|span| *span == Span::default()));
}

#[test]
fn malformed_headers_are_refused() {
    let good = headers(&[(1, 6, 0x21_0000, 8, 24)]);
    for length in 0..good.len() {
        assert_eq!(spans(&good[..length]), Err(HeaderError::Malformed), "{length} bytes");
    }
    assert_eq!(headers_end(&good[..HEADER_BYTES]), Some(good.len()));
    assert_eq!(headers_end(&good[..HEADER_BYTES - 8]), None);
    assert_eq!(spans(&headers(&[(1, 6, 0, 9, 8)])), Err(HeaderError::Malformed), "less memory than data");
    for (at, byte) in [(0, 0), (4, 1), (54, 32), (39, 0xff)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(spans(&bad), Err(HeaderError::Malformed), "byte {at}");
    }
    let many = vec![(1, 6, 0x1000, 1, 1); MAX_SPANS + 1];
    assert_eq!(spans(&headers(&many)), Err(HeaderError::TooManySegments));
    assert!(spans(&headers(&many[..MAX_SPANS])).is_ok());
}

fn span(memory: &[u8], data: usize) -> Span {
    Span { address: memory.as_ptr().expose_provenance(), data, zeros: memory.len() - data }
}

#[test]
fn memory_is_as_it_was_before_the_program_ran() {
    let (mut first, mut second) = ([1, 2, 3, 0, 0, 0], [4, 5]);
    let all = [span(&first, 3), span(&second, 2), Span::default()];
    let mut save = Save::new();
    // SAFETY: both arrays are there.
    unsafe { save.keep(&all, 0x8000) }.unwrap();
    for _ in 0..3 {
        (first, second) = ([9; 6], [9; 2]);
        std::hint::black_box((&first, &second));
        // SAFETY: as above, and nothing refers to them.
        unsafe { save.put_back(&all) }.unwrap();
        assert_eq!((std::hint::black_box(first), std::hint::black_box(second)), ([1, 2, 3, 0, 0, 0], [4, 5]));
    }
}

#[test]
fn the_copy_survives_among_what_is_zeroed() {
    // The program's memory: some data, then zeros, in which the copy lies.
    #[repr(C)]
    struct Program {
        data: [u8; 8],
        before: [u8; 8],
        save: Save,
        after: [u8; 8],
    }
    let mut program = Box::new(Program { data: [7; 8], before: [0; 8], save: Save::new(), after: [0; 8] });
    let address = (&raw const *program).expose_provenance();
    let all = [Span { address, data: 8, zeros: size_of::<Program>() - 8 }];
    // SAFETY: the data is there.
    unsafe { program.save.keep(&all, 1) }.unwrap();
    for _ in 0..2 {
        (program.data, program.before, program.after) = ([1; 8], [1; 8], [1; 8]);
        // SAFETY: as above; what is written is not referred to, and the copy is not written.
        unsafe { program.save.put_back(&all) }.unwrap();
        assert_eq!((program.data, program.before, program.after), ([7; 8], [0; 8], [0; 8]));
    }
}

#[test]
fn too_much_data_is_not_kept() {
    let memory = vec![1; MAX_DATA_BYTES + 1];
    let mut save = Save::new();
    let fits = [span(&memory[..MAX_DATA_BYTES], MAX_DATA_BYTES)];
    // SAFETY: the memory is there.
    assert_eq!(unsafe { save.keep(&fits, 1) }, Ok(()));
    let mut save = Save::new();
    for all in [&[span(&memory, MAX_DATA_BYTES + 1)][..], &[fits[0], span(&memory, 1)]] {
        // SAFETY: as above.
        assert_eq!(unsafe { save.keep(all, 1) }, Err(SaveError::TooMuchData));
        // SAFETY: nothing is written.
        assert_eq!(unsafe { save.put_back(all) }, Err(SaveError::Damaged));
    }
}

#[test]
fn a_damaged_copy_is_not_put_back() {
    let mut data = [5_u8; 64];
    let all = [span(&data, 64)];
    let mut save = Box::new(Save::new());
    // SAFETY: the data is there.
    unsafe { save.keep(&all, 0x8000) }.unwrap();
    data = [6; 64];
    std::hint::black_box(&data);
    let copy = (&raw mut *save).cast::<u8>();
    for offset in [0, 8, 16, 24, 24 + 63] {
        let flip = || {
            // SAFETY: a byte of the copy, to which no reference is in use.
            let byte = unsafe { copy.add(offset) };
            // SAFETY: as above.
            let value = unsafe { byte.read() };
            // SAFETY: as above.
            unsafe { byte.write(value ^ 1) };
        };
        flip();
        // SAFETY: nothing is written.
        assert_eq!(unsafe { save.put_back(&all) }, Err(SaveError::Damaged), "byte {offset}");
        flip();
    }
    assert_eq!(std::hint::black_box(data), [6; 64]);
    // SAFETY: nothing refers to the data.
    assert_eq!(unsafe { save.put_back(&all) }, Ok(()));
    assert_eq!(std::hint::black_box(data), [5; 64]);
}
