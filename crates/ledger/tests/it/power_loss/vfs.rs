//! A disk in memory, as a VFS of SQLite, that knows what is synced and what is not: it can be
//! copied at any moment and lose power there, and it can fail its n-th operation.
//!
//! It has no shared memory and no locks: the journal opens it for itself alone.
#![expect(unsafe_code, reason = "SQLite's VFS is an interface of C")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Once};

use rusqlite::ffi;

use crate::support::Random;

/// The name under which SQLite knows these disks.
pub(crate) const VFS: &str = "fisc-memory";

/// What a disk tears: a power loss keeps or drops each of these.
const SECTOR: usize = 512;

/// One disk: all files of one directory.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

/// A moment at which the power may fail.
#[derive(Clone)]
pub(crate) struct Moment {
    files: BTreeMap<String, Stored>,
    /// What [`Disk::count_with`] counted then.
    pub(crate) count: u64,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Contents>,
    /// Operations that change something, so far.
    operations: u64,
    bytes_read: u64,
    syncs: u64,
    fail_at: Option<u64>,
    failed: bool,
    /// What failed was the deletion of an empty file.
    failed_to_tidy: bool,
    counter: Option<Arc<AtomicU64>>,
    moments: Vec<Moment>,
}

#[derive(Default, Clone)]
struct Contents {
    /// What a reader sees.
    now: Vec<u8>,
    stored: Stored,
}

/// What a power loss leaves something of.
#[derive(Default, Clone)]
struct Stored {
    synced: Arc<Vec<u8>>,
    unsynced: Vec<Arc<Change>>,
}

enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

/// SQLite's file handle; ours lies behind the part that is its own.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    file: *mut OpenFile,
}

struct OpenFile {
    disk: Disk,
    name: String,
}

static DISKS: LazyLock<Mutex<HashMap<String, Disk>>> = LazyLock::new(Mutex::default);

// === impl Disk ===

impl Disk {
    /// Puts an empty disk at a directory; whatever was there is gone.
    pub(crate) fn at(directory: &std::path::Path) -> Disk {
        register();
        let disk = Disk(Arc::default());
        let key = directory.to_str().unwrap().to_owned();
        DISKS.lock().unwrap().insert(key, disk.clone());
        disk
    }

    /// Remembers every moment from now on, each with the value of this counter.
    pub(crate) fn count_with(&self, counter: Arc<AtomicU64>) {
        self.state().counter = Some(counter);
    }

    pub(crate) fn take_moments(&self) -> Vec<Moment> {
        mem::take(&mut self.state().moments)
    }

    /// Makes the `n`-th operation from now fail, once; what a failed sync should have written
    /// stays readable, and never reaches the disk.
    pub(crate) fn fail_after(&self, operations: u64) {
        let mut state = self.state();
        state.fail_at = Some(state.operations + operations);
        state.failed = false;
    }

    pub(crate) fn failed(&self) -> bool {
        self.state().failed
    }

    /// Says whether what failed was only the deletion of an empty file, as of a log that was
    /// emptied: SQLite tells nobody, and nobody needs to know.
    pub(crate) fn failed_to_tidy(&self) -> bool {
        self.state().failed_to_tidy
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Returns the disk as it is now, nothing lost.
    pub(crate) fn now(&self) -> Moment {
        self.state().moment()
    }

    /// Makes this disk what a power loss at that moment left. Of what was not synced, everything
    /// is lost, everything is kept, or each change is lost, kept, or torn.
    pub(crate) fn lose_power(&self, moment: &Moment, random: &mut Random) {
        let mode = random.below(4);
        let mut state = self.state();
        *state = State::default();
        for (name, stored) in &moment.files {
            let mut now = Vec::clone(&stored.synced);
            for change in &stored.unsynced {
                let fate = match mode {
                    0 => 0,
                    1 => 1,
                    _ => random.below(3),
                };
                match fate {
                    0 => {}
                    1 => change.apply(&mut now, |_| true),
                    _ => change.apply(&mut now, |_| random.below(2) == 0),
                }
            }
            let stored = Stored {
                synced: Arc::new(now.clone()),
                unsynced: Vec::new(),
            };
            state.files.insert(name.clone(), Contents { now, stored });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

// === impl State ===

impl State {
    /// Counts an operation; says whether it must fail.
    fn operation(&mut self) -> bool {
        if let Some(counter) = self.counter.clone() {
            let mut moment = self.moment();
            moment.count = counter.load(Ordering::SeqCst);
            self.moments.push(moment);
        }
        self.operations += 1;
        let fails = self.fail_at == Some(self.operations);
        self.failed |= fails;
        fails
    }

    fn moment(&self) -> Moment {
        let files = self.files.iter();
        let files = files.map(|(name, contents)| (name.clone(), contents.stored.clone()));
        Moment {
            files: files.collect(),
            count: 0,
        }
    }

    fn change(&mut self, name: &str, change: Change) {
        let contents = self.files.entry(name.to_owned()).or_default();
        change.apply(&mut contents.now, |_| true);
        contents.stored.unsynced.push(Arc::new(change));
    }

    fn sync(&mut self, name: &str, fails: bool) {
        let stored = &mut self.files.entry(name.to_owned()).or_default().stored;
        let unsynced = mem::take(&mut stored.unsynced);
        if fails {
            return;
        }
        let synced = Arc::make_mut(&mut stored.synced);
        for change in unsynced {
            change.apply(synced, |_| true);
        }
    }
}

// === impl Change ===

impl Change {
    /// Changes `bytes`, but for the sectors that are not kept.
    fn apply(&self, file: &mut Vec<u8>, mut keep: impl FnMut(usize) -> bool) {
        match self {
            Change::Truncate { length } => {
                if keep(0) {
                    file.truncate(*length);
                }
            }
            Change::Write { at, bytes } => {
                let mut from = *at;
                let end = at + bytes.len();
                while from < end {
                    let to = end.min((from / SECTOR + 1) * SECTOR);
                    if keep(from / SECTOR) {
                        if file.len() < to {
                            file.resize(to, 0);
                        }
                        file[from..to].copy_from_slice(&bytes[from - at..to - at]);
                    }
                    from = to;
                }
            }
        }
    }
}

// === The interface of C ===
// SQLite passes only pointers that it got here, or buffers of the lengths it names.

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let name: &'static CStr = c"fisc-memory";
        assert_eq!(name.to_str().unwrap(), VFS);
        let standard = unsafe { &*ffi::sqlite3_vfs_find(ptr::null()) };
        let vfs = ffi::sqlite3_vfs {
            iVersion: 1,
            szOsFile: size_of::<Handle>() as c_int,
            mxPathname: 1024,
            pNext: ptr::null_mut(),
            zName: name.as_ptr(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            // Randomness, sleep and time are the standard ones.
            ..*standard
        };
        let code = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) };
        assert_eq!(code, ffi::SQLITE_OK);
    });
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(nothing_to_lock),
    xUnlock: Some(nothing_to_lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

fn place(path: *const c_char) -> Option<OpenFile> {
    let path = unsafe { CStr::from_ptr(path) }.to_str().unwrap();
    let (directory, name) = path.rsplit_once('/')?;
    let disk = DISKS.lock().unwrap().get(directory)?.clone();
    Some(OpenFile {
        disk,
        name: name.to_owned(),
    })
}

fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a OpenFile {
    unsafe { &*(*file.cast::<Handle>()).file }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let handle = file.cast::<Handle>();
    unsafe { (*handle).base.pMethods = ptr::null() };
    let Some(open) = (if path.is_null() { None } else { place(path) }) else {
        return ffi::SQLITE_CANTOPEN;
    };
    {
        let mut state = open.disk.state();
        if flags & ffi::SQLITE_OPEN_CREATE == 0 && !state.files.contains_key(&open.name) {
            return ffi::SQLITE_CANTOPEN;
        }
        state.files.entry(open.name.clone()).or_default();
    }
    unsafe {
        (*handle).file = Box::into_raw(Box::new(open));
        (*handle).base.pMethods = &raw const METHODS;
        if !flags_out.is_null() {
            *flags_out = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    drop(unsafe { Box::from_raw((*file.cast::<Handle>()).file) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let buffer = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), amount as usize) };
    let open = opened(file);
    let mut state = open.disk.state();
    state.bytes_read += buffer.len() as u64;
    let now = &state.files[&open.name].now;
    let from = (offset as usize).min(now.len());
    let there = (now.len() - from).min(buffer.len());
    buffer[..there].copy_from_slice(&now[from..from + there]);
    buffer[there..].fill(0);
    if there == buffer.len() {
        ffi::SQLITE_OK
    } else {
        ffi::SQLITE_IOERR_SHORT_READ
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let bytes = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), amount as usize) }.to_vec();
    let open = opened(file);
    let mut state = open.disk.state();
    if state.operation() {
        return if offset % 2 == 0 {
            ffi::SQLITE_IOERR_WRITE
        } else {
            ffi::SQLITE_FULL
        };
    }
    state.change(
        &open.name,
        Change::Write {
            at: offset as usize,
            bytes,
        },
    );
    ffi::SQLITE_OK
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let open = opened(file);
    let mut state = open.disk.state();
    if state.operation() {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    state.change(
        &open.name,
        Change::Truncate {
            length: size as usize,
        },
    );
    ffi::SQLITE_OK
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let open = opened(file);
    let mut state = open.disk.state();
    let fails = state.operation();
    state.syncs += 1;
    state.sync(&open.name, fails);
    if fails {
        ffi::SQLITE_IOERR_FSYNC
    } else {
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    let open = opened(file);
    unsafe { *size = open.disk.state().files[&open.name].now.len() as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn nothing_to_lock(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, held: *mut c_int) -> c_int {
    unsafe { *held = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// As the standard VFS: a write never harms what lies beside it.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, _: c_int) -> c_int {
    if let Some(open) = place(path) {
        let mut state = open.disk.state();
        if state.operation() {
            let file = state.files.get(&open.name);
            state.failed_to_tidy = file.is_none_or(|file| file.now.is_empty());
            return ffi::SQLITE_IOERR_DELETE;
        }
        state.files.remove(&open.name);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    _: c_int,
    there: *mut c_int,
) -> c_int {
    let exists = place(path).is_some_and(|open| open.disk.state().files.contains_key(&open.name));
    unsafe { *there = c_int::from(exists) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if bytes.len() > length as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast::<c_char>(), out, bytes.len()) };
    ffi::SQLITE_OK
}
