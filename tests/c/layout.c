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
  SIZE(oca_lease_request);
  FIELD(oca_lease_request, struct_size);
  FIELD(oca_lease_request, provider);
  FIELD(oca_lease_request, model);
  FIELD(oca_lease_request, agent);
  FIELD(oca_lease_request, session);
  FIELD(oca_lease_request, profile);
  FIELD(oca_lease_request, extra_json);
  FIELD(oca_lease_request, flags);
  FIELD(oca_lease_request, reserved);
  SIZE(oca_outcome);
  FIELD(oca_outcome, struct_size);
  FIELD(oca_outcome, kind);
  FIELD(oca_outcome, http_status);
  FIELD(oca_outcome, transport);
  FIELD(oca_outcome, reserved);
  FIELD(oca_outcome, message);
  FIELD(oca_outcome, body);
  FIELD(oca_outcome, code);
  FIELD(oca_outcome, headers);
  FIELD(oca_outcome, headers_len);
  FIELD(oca_outcome, error_type);
  SIZE(oca_verdict);
  FIELD(oca_verdict, struct_size);
  FIELD(oca_verdict, kind);
  FIELD(oca_verdict, reason);
  FIELD(oca_verdict, http_status);
  FIELD(oca_verdict, retryable);
  FIELD(oca_verdict, delay_ms);
  FIELD(oca_verdict, retry_after_ms);
  return 0;
}
