/* A reader for JSON that is known to be valid. A value is the address of its first character in
 * the text; NULL stands for one that is not there. Decoded texts live until json_reset(). */
#ifndef JSON_H
#define JSON_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef const char *json;

static char json_pool[4 << 20];
static size_t json_used;

static inline void json_reset(void) { json_used = 0; }

static inline char *json_take(size_t size) {
  if (size > sizeof json_pool - json_used) {
    fprintf(stderr, "the pool for texts is too small\n");
    exit(2);
  }
  json_used += size;
  return json_pool + json_used - size;
}

static inline json json_skip(json at) { return at + strspn(at, " \t\r\n"); }

/* The first character behind a value. */
static inline json json_end(json at) {
  int depth = 0;
  do {
    at = json_skip(at);
    if (*at == '"') {
      for (at++; *at != '"'; at++)
        at += *at == '\\';
      at++;
    } else if (*at == '{' || *at == '[') {
      depth++;
      at++;
    } else if (*at == '}' || *at == ']') {
      depth--;
      at++;
    } else if (*at == ',' || *at == ':') {
      at++;
    } else {
      at += strcspn(at, ",:]} \t\r\n");
    }
  } while (depth > 0);
  return at;
}

/* Walks over an array or object: `for (json_walk w = json_start(v); json_next(&w);)`. */
typedef struct json_walk {
  json at, key, value;
  char close;
} json_walk;

static inline json_walk json_start(json value) {
  json_walk walk = {NULL, NULL, NULL, 0};
  if (value && (*value == '{' || *value == '[')) {
    walk.at = json_skip(value + 1);
    walk.close = *value == '{' ? '}' : ']';
  }
  return walk;
}

static inline int json_next(json_walk *walk) {
  if (!walk->at || *walk->at == walk->close)
    return 0;
  walk->value = walk->at;
  if (walk->close == '}') {
    walk->key = walk->at;
    walk->value = json_skip(json_skip(json_end(walk->key)) + 1);
  }
  walk->at = json_skip(json_end(walk->value));
  if (*walk->at == ',')
    walk->at = json_skip(walk->at + 1);
  return 1;
}

static inline unsigned json_hex(json at) {
  char digits[5] = {at[0], at[1], at[2], at[3], 0};
  return (unsigned)strtoul(digits, NULL, 16);
}

/* Decodes a string, as UTF-8 or with one byte for each character up to U+00FF. */
static inline char *json_decode(json at, int latin1, size_t *len) {
  char *text = json_take((size_t)(json_end(at) - at)), *to = text;
  for (at++; *at != '"'; at++) {
    unsigned point = (unsigned char)*at;
    if (*at == '\\') {
      static const char from[] = "bfnrt", into[] = "\b\f\n\r\t";
      const char *known = strchr(from, *++at);
      point = known ? (unsigned char)into[known - from] : (unsigned char)*at;
      if (*at == 'u') {
        point = json_hex(at + 1);
        at += 4;
        if (point >= 0xd800 && point < 0xdc00) {
          point = 0x10000 + ((point - 0xd800) << 10) + (json_hex(at + 3) - 0xdc00);
          at += 6;
        }
      }
    } else if (point >= 0x80) {
      int more = point >= 0xf0 ? 3 : point >= 0xe0 ? 2 : 1;
      point &= 0x3fu >> more;
      while (more--)
        point = point << 6 | ((unsigned char)*++at & 0x3f);
    }
    if (latin1 || point < 0x80) {
      *to++ = (char)point;
    } else if (point < 0x800) {
      *to++ = (char)(0xc0 | point >> 6);
      *to++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
      *to++ = (char)(0xe0 | point >> 12);
      *to++ = (char)(0x80 | (point >> 6 & 0x3f));
      *to++ = (char)(0x80 | (point & 0x3f));
    } else {
      *to++ = (char)(0xf0 | point >> 18);
      *to++ = (char)(0x80 | (point >> 12 & 0x3f));
      *to++ = (char)(0x80 | (point >> 6 & 0x3f));
      *to++ = (char)(0x80 | (point & 0x3f));
    }
  }
  *to = 0;
  if (len)
    *len = (size_t)(to - text);
  return text;
}

/* A string as UTF-8 with a NUL behind it; NULL for anything else. */
static inline const char *json_text(json value) {
  return value && *value == '"' ? json_decode(value, 0, NULL) : NULL;
}

/* A value of an object. */
static inline json json_get(json object, const char *key) {
  for (json_walk walk = json_start(object); json_next(&walk);) {
    size_t used = json_used;
    int found = strcmp(json_text(walk.key), key) == 0;
    json_used = used;
    if (found)
      return walk.value;
  }
  return NULL;
}

/* The value as it is written. */
static inline char *json_raw(json value) {
  size_t len = (size_t)(json_end(value) - value);
  char *text = json_take(len + 1);
  memcpy(text, value, len);
  text[len] = 0;
  return text;
}

static inline int json_is(json value, const char *word) {
  return value && strncmp(value, word, strlen(word)) == 0;
}

static inline long long json_number(json value) { return value ? strtoll(value, NULL, 10) : 0; }

/* A whole file, with a NUL behind it. */
static inline char *json_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) {
    perror(path);
    exit(2);
  }
  long size = ftell(file);
  rewind(file);
  char *text = (char *)malloc((size_t)size + 1);
  if (!text || fread(text, 1, (size_t)size, file) != (size_t)size) {
    perror(path);
    exit(2);
  }
  text[size] = 0;
  fclose(file);
  return text;
}

#endif
