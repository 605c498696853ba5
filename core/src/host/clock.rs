#[derive(Default)] pub(super) struct RealClock;
impl super::Clock for RealClock { fn now_ms(&self)->u64{0} fn monotonic(&self)->std::time::Duration{Default::default()} fn sleep(&self,_d:std::time::Duration){} }
