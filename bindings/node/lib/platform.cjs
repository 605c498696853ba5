'use strict';

/** The name of this machine among the packages: linux-x64-gnu, darwin-arm64, win32-x64-msvc. */
function platform() {
  const { platform: system, arch } = process;
  if (system === 'linux') return `linux-${arch}-${usesGlibc() ? 'gnu' : 'musl'}`;
  return system === 'win32' ? `win32-${arch}-msvc` : `${system}-${arch}`;
}

function usesGlibc() {
  // Without this, the report would look up the names of all open connections.
  const before = process.report.excludeNetwork;
  process.report.excludeNetwork = true;
  try {
    return Boolean(process.report.getReport().header.glibcVersionRuntime);
  } finally {
    process.report.excludeNetwork = before;
  }
}

module.exports = { platform };
