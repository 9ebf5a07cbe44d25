//! Memory that only the start needed: the pages of the program's own code that nothing uses again, and what the allocator holds free.
//!
//! The kernel maps sixteen pages of a program for each that is used, and takes none back while memory is not short, so that an agent that has
//! started ten minutes ago still shows all that its start went through.

/// Gives back what only the start needed, once it is over; what is used after all comes back by itself. Does nothing but on Linux. Blocks.
#[cfg(target_os = "linux")]
pub fn give_back_memory() {
    forget_own_code();
    trim_heap();
}

#[cfg(not(target_os = "linux"))]
pub fn give_back_memory() {}

/// Lets go of all pages of the program's code.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the system is told about a mapping by its address")]
fn forget_own_code() {
    let Some((from, bytes)) = own_code() else { return };
    // SAFETY: the kernel says that this mapping can be run and not written; its pages are those of the file, from which each comes back when it
    // is used. Where it refuses, all stays as it was.
    unsafe { libc::madvise(from as *mut libc::c_void, bytes, libc::MADV_DONTNEED) };
}

/// Where the code of this program lies, and how long it is.
#[cfg(target_os = "linux")]
fn own_code() -> Option<(usize, usize)> {
    let here = own_code as *const () as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut code = maps.lines().filter_map(|line| line.split_once(' ').filter(|(_, rest)| rest.starts_with("r-xp ")));
    code.find_map(|(range, _)| {
        let (from, to) = range.split_once('-')?;
        let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
        (from..to).contains(&here).then(|| (from, to - from))
    })
}

/// Has the allocator give back the pages that it holds free; only that of glibc keeps many.
#[cfg(target_os = "linux")]
fn trim_heap() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "only libc knows its free pages")]
    // SAFETY: it takes a number and may be called at any time.
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// KiB of this program's code that are in memory.
    fn code_in_memory() -> u64 {
        let (from, _) = own_code().unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let own = smaps.split_once(&format!("{from:x}-")).unwrap().1;
        let line = own.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn what_the_start_used_is_given_back_and_comes_again_when_it_is_used() {
        // Other tests of this process run meanwhile, and use code again.
        let given_back = (0..100).any(|_| {
            let before = code_in_memory();
            give_back_memory();
            code_in_memory() < before
        });
        assert!(given_back);
        assert_eq!("7".parse::<u8>(), Ok(7));
    }
}
