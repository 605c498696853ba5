/* The header, before anything else and twice. */
#include <openclaw_auth.h>
#include <openclaw_auth.h>

size_t length_in_b(oca_str text);

int main(void) {
  return length_in_b(oca_cstr("four")) == 4 && oca_abi_version() >= OCA_ABI_VERSION ? 0 : 1;
}
