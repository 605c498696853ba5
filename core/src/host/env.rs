use std::collections::BTreeMap; use zeroize::Zeroizing; use std::path::PathBuf;
pub(super) struct RealEnvironment(BTreeMap<String,Zeroizing<String>>);
impl RealEnvironment { pub(super) fn capture()->Self{Self(Default::default())} }
impl super::Environment for RealEnvironment { fn vars(&self)->&BTreeMap<String,Zeroizing<String>>{&self.0} fn account_home(&self)->Option<PathBuf>{None} fn current_dir(&self)->PathBuf{"/".into()} fn effective_uid(&self)->u32{0} }
