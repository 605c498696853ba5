/* The header in a second unit of the same program. */
#include <openclaw_auth.h>

size_t length_in_b(oca_str text);

size_t length_in_b(oca_str text) { return text.len; }
