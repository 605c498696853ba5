/* Prints where everything lies in the structs; tests/abi/layout-64.txt is what was promised. */
#include <openclaw_auth.h>
#include <stdio.h>

#define SIZE(type) printf("%s %zu\n", #type, sizeof(type))
#define FIELD(type, field) printf("  %s %zu\n", #field, offsetof(type, field))

int main(void) {
  SIZE(oca_status);
  SIZE(oca_str);
  FIELD(oca_str, ptr);
  FIELD(oca_str, len);
  SIZE(oca_header);
  FIELD(oca_header, name);
  FIELD(oca_header, value);
  SIZE(oca_request);
  FIELD(oca_request, struct_size);
  FIELD(oca_request, remote);
  FIELD(oca_request, local);
  FIELD(oca_request, headers);
  FIELD(oca_request, headers_len);
  FIELD(oca_request, token);
  FIELD(oca_request, password);
  FIELD(oca_request, kind);
  FIELD(oca_request, flags);
  SIZE(oca_decision);
  FIELD(oca_decision, struct_size);
  FIELD(oca_decision, allowed);
  FIELD(oca_decision, method);
  FIELD(oca_decision, http_status);
  FIELD(oca_decision, ws_close_code);
  FIELD(oca_decision, flags);
  FIELD(oca_decision, penalty_ms);
  FIELD(oca_decision, retry_after_ms);
  FIELD(oca_decision, generation);
  FIELD(oca_decision, code);
  FIELD(oca_decision, reason);
  FIELD(oca_decision, header);
  FIELD(oca_decision, client_ip);
  FIELD(oca_decision, peer_ip);
  FIELD(oca_decision, user);
  return 0;
}
