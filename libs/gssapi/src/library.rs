//! The library's functions as `gssapi.h` and `gssapi_ext.h` declare them, and what is done with them. The only file with unsafe code.
//!
//! Whatever the library hands out is given back to it by a `Drop`. MIT's library may be used by several threads: a credential by
//! all of them at once, a context by one at a time.

#![expect(
    unsafe_code,
    reason = "a C library is called; its functions are declared and used in this file alone"
)]

use std::{
    ffi::{CString, c_char, c_int, c_void},
    fmt,
    path::Path,
    ptr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use libloading::{Library, Symbol};

use crate::Failure;

const FILE: &str = "libgssapi_krb5.so.2";

/// 1.2.840.113554.1.2.2
const KERBEROS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02];
/// 1.3.6.1.5.5.2
const SPNEGO: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x02];
/// 1.2.840.113554.1.2.2.1: a name is a principal's, as it is written.
const PRINCIPAL_NAME: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02, 0x01];

const MUTUAL: u32 = 2;
const REPLAY: u32 = 4;
const SEQUENCE: u32 = 8;
const CONFIDENTIALITY: u32 = 16;
const INTEGRITY: u32 = 32;
/// What a context of ours must be able to do.
const WANTED: u32 = MUTUAL | REPLAY | SEQUENCE | CONFIDENTIALITY | INTEGRITY;

/// The bits of a status that say that something went wrong, and the one that says that there is more to do.
const ERRORS: u32 = 0xFFFF_0000;
const CONTINUE_NEEDED: u32 = 1;

const INITIATE: c_int = 1;
const ACCEPT: c_int = 2;
const INDEFINITE: u32 = u32::MAX;
/// Kinds of status numbers.
const GSS_CODE: c_int = 1;
const MECHANISM_CODE: c_int = 2;

/// Kinds of pieces of a sealed message.
const DATA: u32 = 1;
const HEADER: u32 = 2;
const PADDING: u32 = 9;
const ALLOCATE: u32 = 0x0001_0000;

type Handle = *mut c_void;

#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

impl Buffer {
    const EMPTY: Self = Self {
        length: 0,
        value: ptr::null_mut(),
    };

    /// Of bytes that outlive it and are only read.
    fn of(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len(),
            value: bytes.as_ptr().cast_mut().cast(),
        }
    }

    /// Of bytes that outlive it and are changed.
    fn within(bytes: &mut [u8]) -> Self {
        Self {
            length: bytes.len(),
            value: bytes.as_mut_ptr().cast(),
        }
    }
}

#[repr(C)]
struct Oid {
    length: u32,
    elements: *mut c_void,
}

impl Oid {
    fn of(bytes: &'static [u8]) -> Self {
        Self {
            // Those above have ten bytes at most.
            length: u32::try_from(bytes.len()).unwrap_or(0),
            elements: bytes.as_ptr().cast_mut().cast(),
        }
    }
}

#[repr(C)]
struct OidSet {
    count: usize,
    elements: *mut Oid,
}

#[repr(C)]
struct Bindings {
    initiator_kind: u32,
    initiator: Buffer,
    acceptor_kind: u32,
    acceptor: Buffer,
    data: Buffer,
}

impl Bindings {
    fn of(data: &[u8]) -> Self {
        Self {
            initiator_kind: 0,
            initiator: Buffer::EMPTY,
            acceptor_kind: 0,
            acceptor: Buffer::EMPTY,
            data: Buffer::of(data),
        }
    }
}

#[repr(C)]
struct Piece {
    kind: u32,
    buffer: Buffer,
}

#[repr(C)]
struct Setting {
    key: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct Store {
    count: u32,
    elements: *mut Setting,
}

macro_rules! functions {
    ($($name:ident($($kind:ty),* $(,)?);)*) => {
        /// The functions that are used. Each gives a status.
        struct Functions {
            $($name: unsafe extern "C" fn($($kind),*) -> u32,)*
            _library: Library,
        }

        impl Functions {
            fn load() -> Result<Self, String> {
                // SAFETY: MIT's library runs nothing when it is loaded that could disturb a process.
                let library = unsafe { Library::new(FILE) }.map_err(|error| error.to_string())?;
                Ok(Self {
                    $($name: {
                        // SAFETY: declared as in gssapi.h and gssapi_ext.h of MIT Kerberos 1.12 to 1.22, which don't change.
                        let found: Symbol<'_, unsafe extern "C" fn($($kind),*) -> u32> =
                            unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                                .map_err(|error| error.to_string())?;
                        *found
                    },)*
                    _library: library,
                })
            }
        }
    };
}

functions! {
    gss_import_name(*mut u32, *const Buffer, *const Oid, *mut Handle);
    gss_release_name(*mut u32, *mut Handle);
    gss_display_name(*mut u32, Handle, *mut Buffer, *mut *mut Oid);
    gss_release_buffer(*mut u32, *mut Buffer);
    gss_display_status(*mut u32, u32, c_int, *const Oid, *mut u32, *mut Buffer);
    gss_acquire_cred_with_password(*mut u32, Handle, *const Buffer, u32, *const OidSet, c_int, *mut Handle, *mut *mut OidSet, *mut u32);
    gss_acquire_cred_from(*mut u32, Handle, u32, *const OidSet, c_int, *const Store, *mut Handle, *mut *mut OidSet, *mut u32);
    gss_release_cred(*mut u32, *mut Handle);
    gss_init_sec_context(*mut u32, Handle, *mut Handle, Handle, *const Oid, u32, u32, *const Bindings, *const Buffer, *mut *mut Oid, *mut Buffer, *mut u32, *mut u32);
    gss_accept_sec_context(*mut u32, *mut Handle, Handle, *const Buffer, *const Bindings, *mut Handle, *mut *mut Oid, *mut Buffer, *mut u32, *mut u32, *mut Handle);
    gss_delete_sec_context(*mut u32, *mut Handle, *mut Buffer);
    gss_wrap_iov(*mut u32, Handle, c_int, u32, *mut c_int, *mut Piece, c_int);
    gss_unwrap_iov(*mut u32, Handle, *mut c_int, *mut u32, *mut Piece, c_int);
    gss_release_iov_buffer(*mut u32, *mut Piece, c_int);
}

/// The library, loaded once.
fn functions() -> Result<&'static Functions, Failure> {
    static LOADED: OnceLock<Result<Functions, String>> = OnceLock::new();
    LOADED
        .get_or_init(Functions::load)
        .as_ref()
        .map_err(|why| Failure::NoLibrary(why.clone()))
}

impl Functions {
    /// The failure that a status tells of, if it does.
    fn check(&self, major: u32, minor: u32) -> Result<(), Failure> {
        if major & ERRORS == 0 {
            return Ok(());
        }
        let mut texts = vec![self.words(major, GSS_CODE)];
        if minor != 0 {
            texts.push(self.words(minor, MECHANISM_CODE));
        }
        texts.retain(|text| !text.is_empty());
        Err(Failure::Refused {
            major,
            minor: minor.cast_signed(),
            text: texts.join(": "),
        })
    }

    /// A status in words. Of the thread that it was given to.
    fn words(&self, status: u32, kind: c_int) -> String {
        let mechanism = Oid::of(KERBEROS);
        let mut texts = Vec::new();
        let mut more = 0;
        // There are one or two; a library that never ends is left.
        for _ in 0..8 {
            let (mut minor, mut text) = (0, Buffer::EMPTY);
            // SAFETY: all pointers are to values that live until it returns.
            let major = unsafe {
                (self.gss_display_status)(
                    &raw mut minor,
                    status,
                    kind,
                    &raw const mechanism,
                    &raw mut more,
                    &raw mut text,
                )
            };
            if major & ERRORS != 0 {
                break;
            }
            texts.push(String::from_utf8_lossy(&self.taken(text)).into_owned());
            if more == 0 {
                break;
            }
        }
        texts.join(", ")
    }

    /// A copy of what the library made, which gets it back.
    fn taken(&self, mut made: Buffer) -> Vec<u8> {
        // SAFETY: the library made it, of that length.
        let bytes = unsafe { copied(&made) };
        let mut minor = 0;
        // SAFETY: the library made it, and nobody uses it any more.
        unsafe { (self.gss_release_buffer)(&raw mut minor, &raw mut made) };
        bytes
    }
}

/// A copy of a buffer's bytes.
///
/// # Safety
/// It is empty, or its value points to as many bytes as it says.
unsafe fn copied(buffer: &Buffer) -> Vec<u8> {
    if buffer.value.is_null() || buffer.length == 0 {
        return Vec::new();
    }
    // SAFETY: as the caller says.
    unsafe { std::slice::from_raw_parts(buffer.value.cast::<u8>(), buffer.length) }.to_vec()
}

/// A principal's name.
struct Name {
    functions: &'static Functions,
    raw: Handle,
}

// SAFETY: it isn't changed after it was made.
unsafe impl Send for Name {}

impl Name {
    fn of(functions: &'static Functions, principal: &str) -> Result<Self, Failure> {
        let (text, kind) = (Buffer::of(principal.as_bytes()), Oid::of(PRINCIPAL_NAME));
        let (mut minor, mut raw) = (0, ptr::null_mut());
        // SAFETY: all pointers are to values that live until it returns.
        let major = unsafe {
            (functions.gss_import_name)(
                &raw mut minor,
                &raw const text,
                &raw const kind,
                &raw mut raw,
            )
        };
        functions.check(major, minor)?;
        Ok(Self { functions, raw })
    }

    fn text(&self) -> Result<String, Failure> {
        let (mut minor, mut text) = (0, Buffer::EMPTY);
        // SAFETY: the name is the library's own, and the pointers are to values that live until it returns.
        let major = unsafe {
            (self.functions.gss_display_name)(
                &raw mut minor,
                self.raw,
                &raw mut text,
                ptr::null_mut(),
            )
        };
        self.functions.check(major, minor)?;
        Ok(String::from_utf8_lossy(&self.functions.taken(text)).into_owned())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the library made it, and nobody uses it any more.
        unsafe { (self.functions.gss_release_name)(&raw mut minor, &raw mut self.raw) };
    }
}

/// Proof of who somebody is: a ticket, or a service's keys. In memory alone.
pub struct Credential {
    functions: &'static Functions,
    raw: Handle,
}

// SAFETY: MIT's library locks a credential while it uses it.
unsafe impl Send for Credential {}
// SAFETY: as above.
unsafe impl Sync for Credential {}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

impl Credential {
    /// An initial ticket for a principal (`sa-1@UNI.EXAMPLE`) and its password, kept in memory, and for how long it is good.
    /// Asks the realm's KDC, once for each of those that it is told of, and blocks meanwhile.
    ///
    /// # Errors
    /// The library isn't there, no KDC can be asked, or it refuses.
    pub fn for_password(principal: &str, password: &str) -> Result<(Self, Duration), Failure> {
        let functions = functions()?;
        let name = Name::of(functions, principal)?;
        let password = Buffer::of(password.as_bytes());
        let mut mechanisms = [Oid::of(KERBEROS)];
        let wanted = OidSet {
            count: mechanisms.len(),
            elements: mechanisms.as_mut_ptr(),
        };
        let (mut minor, mut raw, mut seconds) = (0, ptr::null_mut(), 0);
        // SAFETY: all pointers are to values that live until it returns; null stands for what isn't asked for.
        let major = unsafe {
            (functions.gss_acquire_cred_with_password)(
                &raw mut minor,
                name.raw,
                &raw const password,
                INDEFINITE,
                &raw const wanted,
                INITIATE,
                &raw mut raw,
                ptr::null_mut(),
                &raw mut seconds,
            )
        };
        functions.check(major, minor)?;
        let credential = Self { functions, raw };
        Ok((credential, Duration::from_secs(seconds.into())))
    }

    /// A service's keys, from a keytab. For its side of contexts, by Kerberos alone or by SPNEGO.
    ///
    /// # Errors
    /// The library isn't there, or can't read the file.
    pub fn of_keytab(path: &Path) -> Result<Self, Failure> {
        let functions = functions()?;
        let path = path
            .to_str()
            .and_then(|path| CString::new(path).ok())
            .ok_or(Failure::Unfit(
                "the path of a keytab has a character that it can't have",
            ))?;
        let mut settings = [Setting {
            key: c"keytab".as_ptr(),
            value: path.as_ptr(),
        }];
        let store = Store {
            count: 1,
            elements: settings.as_mut_ptr(),
        };
        let mut mechanisms = [Oid::of(KERBEROS), Oid::of(SPNEGO)];
        let wanted = OidSet {
            count: mechanisms.len(),
            elements: mechanisms.as_mut_ptr(),
        };
        let (mut minor, mut raw) = (0, ptr::null_mut());
        // SAFETY: all pointers are to values that live until it returns; null stands for any name and for what isn't asked for.
        let major = unsafe {
            (functions.gss_acquire_cred_from)(
                &raw mut minor,
                ptr::null_mut(),
                INDEFINITE,
                &raw const wanted,
                ACCEPT,
                &raw const store,
                &raw mut raw,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        functions.check(major, minor)?;
        Ok(Self { functions, raw })
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the library made it, and nobody uses it any more.
        unsafe { (self.functions.gss_release_cred)(&raw mut minor, &raw mut self.raw) };
    }
}

/// A message that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What stands before it.
    pub signature: Vec<u8>,
    /// The sealed bytes, with their padding.
    pub bytes: Vec<u8>,
    /// How many of them are padding.
    pub padding: usize,
}

enum Side {
    Initiator { target: Name },
    Acceptor { peer: Option<String> },
}

/// What two sides have agreed on, or are about to.
pub struct Context {
    credential: Arc<Credential>,
    raw: Handle,
    side: Side,
    /// What ties it to a connection.
    binding: Option<Vec<u8>>,
    flags: u32,
    complete: bool,
}

// SAFETY: the library takes a context from any thread, from one at a time; changing it takes a `&mut`.
unsafe impl Send for Context {}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The side of whoever has a ticket, towards a service (`HTTP/mail.uni.example@UNI.EXAMPLE`; with nothing after the @, the
    /// KDC says which realm it is in). By Kerberos alone. `binding` ties it to a connection (RFC 5929).
    ///
    /// # Errors
    /// The service's name can't be one.
    pub fn to_service(
        credential: Arc<Credential>,
        service: &str,
        binding: Option<Vec<u8>>,
    ) -> Result<Self, Failure> {
        let target = Name::of(credential.functions, service)?;
        Ok(Self::new(credential, Side::Initiator { target }, binding))
    }

    /// The side of a service that has its keys.
    #[must_use]
    pub fn of_service(credential: Arc<Credential>, binding: Option<Vec<u8>>) -> Self {
        Self::new(credential, Side::Acceptor { peer: None }, binding)
    }

    fn new(credential: Arc<Credential>, side: Side, binding: Option<Vec<u8>>) -> Self {
        Self {
            credential,
            raw: ptr::null_mut(),
            side,
            binding,
            flags: 0,
            complete: false,
        }
    }

    /// Takes what the other side sent (nothing, to begin with), and gives what it is to be sent; empty if nothing. The first
    /// step of whoever has a ticket gets one for the service: it asks a KDC, and blocks meanwhile.
    ///
    /// # Errors
    /// The context doesn't come about.
    pub fn step(&mut self, token: &[u8]) -> Result<Vec<u8>, Failure> {
        let functions = self.credential.functions;
        let bindings = self.binding.as_deref().map(Bindings::of);
        let bindings: *const Bindings = bindings.as_ref().map_or(ptr::null(), ptr::from_ref);
        let (input, mechanism) = (Buffer::of(token), Oid::of(KERBEROS));
        let (mut minor, mut output) = (0, Buffer::EMPTY);
        let mut peer = ptr::null_mut();
        let major = match &self.side {
            // SAFETY: all pointers are to values that live until it returns; null stands for what isn't asked for.
            Side::Initiator { target } => unsafe {
                (functions.gss_init_sec_context)(
                    &raw mut minor,
                    self.credential.raw,
                    &raw mut self.raw,
                    target.raw,
                    &raw const mechanism,
                    WANTED,
                    0,
                    bindings,
                    &raw const input,
                    ptr::null_mut(),
                    &raw mut output,
                    &raw mut self.flags,
                    ptr::null_mut(),
                )
            },
            // SAFETY: as above.
            Side::Acceptor { .. } => unsafe {
                (functions.gss_accept_sec_context)(
                    &raw mut minor,
                    &raw mut self.raw,
                    self.credential.raw,
                    &raw const input,
                    bindings,
                    &raw mut peer,
                    ptr::null_mut(),
                    &raw mut output,
                    &raw mut self.flags,
                    ptr::null_mut(),
                    ptr::null_mut(),
                )
            },
        };
        let checked = functions.check(major, minor);
        let output = functions.taken(output);
        let peer = (!peer.is_null()).then(|| Name {
            functions,
            raw: peer,
        });
        checked?;
        self.complete = major & CONTINUE_NEEDED == 0;
        if let (Side::Acceptor { peer: known }, Some(peer)) = (&mut self.side, peer) {
            *known = Some(peer.text()?);
        }
        Ok(output)
    }

    /// Whether both sides have agreed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the other side has proven who it is, and messages can be sealed.
    #[must_use]
    pub fn is_mutual_and_sealing(&self) -> bool {
        const BOTH: u32 = MUTUAL | CONFIDENTIALITY;
        self.complete && self.flags & BOTH == BOTH
    }

    /// Who is at the other side of a service's context, such as `sa-1@UNI.EXAMPLE`, once both have agreed.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        match &self.side {
            Side::Acceptor { peer } => peer.as_deref().filter(|_| self.complete),
            Side::Initiator { .. } => None,
        }
    }

    /// Seals a message: nobody else can read or change it.
    ///
    /// # Errors
    /// The context isn't complete, or has run out.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Sealed, Failure> {
        let functions = self.ready()?;
        let mut bytes = plain.to_vec();
        let mut pieces = [
            Piece {
                kind: HEADER | ALLOCATE,
                buffer: Buffer::EMPTY,
            },
            Piece {
                kind: DATA,
                buffer: Buffer::within(&mut bytes),
            },
            Piece {
                kind: PADDING | ALLOCATE,
                buffer: Buffer::EMPTY,
            },
        ];
        let (mut minor, mut sealed) = (0, 0);
        // SAFETY: the context is the library's own; the pieces are three, in an array that lives until it returns, and sealing
        // changes the bytes of the second in place.
        let major = unsafe {
            (functions.gss_wrap_iov)(
                &raw mut minor,
                self.raw,
                1,
                0,
                &raw mut sealed,
                pieces.as_mut_ptr(),
                3,
            )
        };
        let checked = functions.check(major, minor);
        // SAFETY: the library made them, of these lengths, or left them empty.
        let (signature, padding) =
            unsafe { (copied(&pieces[0].buffer), copied(&pieces[2].buffer)) };
        let mut ignored = 0;
        // SAFETY: frees what the library marked as made by it.
        unsafe {
            (functions.gss_release_iov_buffer)(&raw mut ignored, pieces.as_mut_ptr(), 3);
        }
        checked?;
        if sealed == 0 {
            return Err(Failure::Unfit("the context doesn't seal"));
        }
        bytes.extend(&padding);
        Ok(Sealed {
            signature,
            bytes,
            padding: padding.len(),
        })
    }

    /// Opens a message that the other side sealed.
    ///
    /// # Errors
    /// It wasn't sealed by it, or was changed on the way.
    pub fn unseal(&mut self, signature: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Failure> {
        let functions = self.ready()?;
        let (mut signature, mut bytes) = (signature.to_vec(), sealed.to_vec());
        let mut pieces = [
            Piece {
                kind: HEADER,
                buffer: Buffer::within(&mut signature),
            },
            Piece {
                kind: DATA,
                buffer: Buffer::within(&mut bytes),
            },
            // Older kinds of encryption pad, and look for room for it.
            Piece {
                kind: DATA,
                buffer: Buffer::EMPTY,
            },
        ];
        let (mut minor, mut was_sealed, mut quality) = (0, 0, 0);
        // SAFETY: the context is the library's own; the pieces are three, in an array that lives until it returns, and are
        // opened in place.
        let major = unsafe {
            (functions.gss_unwrap_iov)(
                &raw mut minor,
                self.raw,
                &raw mut was_sealed,
                &raw mut quality,
                pieces.as_mut_ptr(),
                3,
            )
        };
        functions.check(major, minor)?;
        if was_sealed == 0 {
            return Err(Failure::Unfit("the message was signed, not sealed"));
        }
        let length = pieces[1].buffer.length;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn ready(&self) -> Result<&'static Functions, Failure> {
        if self.complete && !self.raw.is_null() {
            Ok(self.credential.functions)
        } else {
            Err(Failure::Unfit("the two sides haven't agreed yet"))
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.raw.is_null() {
            return;
        }
        let mut minor = 0;
        // SAFETY: the library made it, and nobody uses it any more.
        unsafe {
            (self.credential.functions.gss_delete_sec_context)(
                &raw mut minor,
                &raw mut self.raw,
                ptr::null_mut(),
            );
        }
    }
}
