# Reads include/openclaw_auth.h and writes a C program that calls every function with one wrong
# argument after the other: NULL for each pointer, texts that are absent, dangling, endless or not
# UTF-8, structs without a size or with fields nobody knows, flags nobody knows. What gives a status
# must answer OCA_ERR_INVALID_ARGUMENT; nothing may crash. A function with a parameter of a type
# that is not known here stops the program, so that nobody forgets it.

BEGIN {
  # Arguments that may be left out: "function parameter".
  split("oca_options_set_config_path path,oca_options_set_env value,oca_engine_reload out," \
        "oca_engine_reload_text out,oca_engine_preflight text,oca_authorize request," \
        "oca_authorize_json request,oca_authorize_packed bytes,oca_profiles_json provider," \
        "oca_profile_order_json model,oca_profile_order_json prefer," \
        "oca_profile_set_order ids_json,oca_profile_clear_cooldown profile_id," \
        "oca_profile_clear_cooldown what,oca_session_directive shown,oca_oauth_begin options_json," \
        "oca_classify_json engine,oca_classify_json provider,oca_classify_json model", list, ",")
  for (i in list) optional[list[i]] = 1

  # A good value for each type.
  good["const struct oca_options *"] = good["struct oca_options *"] = "options"
  good["const struct oca_engine *"] = "engine"
  good["const struct oca_snapshot *"] = "snapshot"
  good["const struct oca_lease *"] = good["struct oca_lease *"] = "lease"
  good["const struct oca_oauth_flow *"] = good["struct oca_oauth_flow *"] = "flow"
  good["const struct oca_error *"] = "some_error"
  good["const struct oca_text *"] = "some_text"
  good["struct oca_engine *"] = good["struct oca_error *"] = good["struct oca_text *"] = "NULL"
  good["struct oca_str"] = "text"
  good["uint32_t"] = good["uint64_t"] = good["int32_t"] = "0"
  good["size_t"] = "sizeof buf"
  good["bool"] = "false"
  good["struct oca_error **"] = "&err"
  good["struct oca_engine **"] = "&new_engine"
  good["struct oca_lease **"] = "&new_lease"
  good["struct oca_oauth_flow **"] = "&new_flow"
  good["struct oca_text **"] = "&new_text"
  good["struct oca_str *"] = "&new_str"
  good["bool *"] = "&new_bool"
  good["size_t *"] = "&new_size"
  good["uint32_t *"] = "&new_number"
  good["char *"] = "buf"
  good["const uint32_t *"] = "lens"
  split("request,decision,lease_request,outcome,verdict", list, ",")
  for (i in list) {
    good["const struct oca_" list[i] " *"] = good["struct oca_" list[i] " *"] = "&" list[i]
    is_struct["struct oca_" list[i] " *"] = list[i]
  }
}

# Comments and preprocessor lines go; the rest is one long text.
/^\/\*\*|^ *\/\*/ { in_comment = 1 }
in_comment { if (/\*\//) in_comment = 0; next }
/^#/ { next }
{ all = all " " $0 }

END {
  count = split(all, parts, ";")
  for (i = 1; i <= count; i++) {
    at = index(parts[i], "OCA_API")
    if (at == 0) continue
    declaration = substr(parts[i], at + 7)
    gsub(/OCA_MUST_USE|OCA_NOEXCEPT/, "", declaration)
    open = index(declaration, "(")
    head = substr(declaration, 1, open - 1)
    inside = substr(declaration, open + 1)
    sub(/\).*/, "", inside)
    match(head, /oca_[a-z0-9_]+ *$/)
    name = substr(head, RSTART)
    gsub(/ /, "", name)
    result = substr(head, 1, RSTART - 1)
    gsub(/^ +| +$/, "", result)
    # It tells the status of an error, and gives none of its own.
    if (name == "oca_error_status") result = "accessor"
    function_of(name, result, inside)
  }
  print "#define FUNCTIONS " functions
  print "static void all(void) {" body "}"
}

function function_of(name, result, inside,    n, k, params) {
  functions++
  gsub(/^ +| +$/, "", inside)
  if (inside == "void" || inside == "") { call(name, result, 0, 0, "", 0); return }
  n = split(inside, params, ",")
  for (k = 1; k <= n; k++) {
    gsub(/^ +| +$/, "", params[k])
    match(params[k], /[a-z0-9_]+$/)
    names[k] = substr(params[k], RSTART)
    types[k] = substr(params[k], 1, RSTART - 1)
    gsub(/ +/, " ", types[k])
    gsub(/^ +| +$/, "", types[k])
    if (!(types[k] in good)) {
      print "no value for the type `" types[k] "` of " name > "/dev/stderr"
      exit 1
    }
  }
  for (k = 1; k <= n; k++) wrong(name, result, n, k)
}

function wrong(name, result, n, k,    type, may, what) {
  type = types[k]
  may = (names[k] == "agent" || name " " names[k] in optional)
  if (type == "struct oca_error **") { call(name, result, n, k, "NULL", 0); return }
  if (type == "struct oca_str") {
    call(name, result, n, k, "absent", !may)
    call(name, result, n, k, "dangling", 1)
    call(name, result, n, k, "endless", 1)
    if (name !~ /packed/) call(name, result, n, k, "not_utf8", 1)
  } else if (type ~ /\*/) {
    call(name, result, n, k, "NULL", !may)
    what = type
    sub(/^const /, "", what)
    if (what in is_struct) {
      call(name, result, n, k, "&no_size_" is_struct[what], 1)
      call(name, result, n, k, "&short_" is_struct[what], 1)
      if (type ~ /^const/) call(name, result, n, k, "&long_" is_struct[what] ".known", 1)
    }
  } else if (type == "uint32_t" && names[k] ~ /^flags?$|^kind$|^http_status$/) {
    call(name, result, n, k, "UINT32_MAX", 1)
  } else call(name, result, n, k, good[type], 0)
}

# One call; must be refused if `strict` and it gives a status. Calls that are not wrong are made only
# where nothing can happen.
function call(name, result, n, k, value, strict,    i, list) {
  if (!strict && (n > 1 || (result == "oca_status" && value != "NULL"))) return
  for (i = 1; i <= n; i++) list = list (i > 1 ? ", " : "") (i == k ? value : good[types[i]])
  if (result == "oca_status" && strict) {
    body = body "\n  err = NULL;\n  CHECK(" name "(" list ") == OCA_ERR_INVALID_ARGUMENT);" \
      "\n  oca_error_free(err);"
  } else if (result == "void") body = body "\n  " name "(" list ");"
  else if (name ~ /_new$/) body = body "\n  " substr(name, 1, length(name) - 3) "free(" name "());"
  else body = body "\n  use(" size_of(name, list, result) ");"
}

# Something to do with a result of any type.
function size_of(name, list, result) {
  if (result == "struct oca_str") return name "(" list ").len"
  if (result ~ /\*/) return name "(" list ") != NULL"
  return "(size_t)" name "(" list ")"
}
