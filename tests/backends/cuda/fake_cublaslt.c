/* cuBLASLt for tests: the functions that `cublas.py` calls, on main memory.

   It follows the documentation of cuBLASLt, column-major order included, and computes by
   loops. Every call is noted, a line each, for `fake_calls`; `fake_refuse` lets the next
   choice or product fail. */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char calls[1 << 16];
static size_t used;
static int refused, answers = 1;

static void note(const char* format, ...) {
  va_list list;
  va_start(list, format);
  used += vsnprintf(calls + used, sizeof calls - used, format, list);
  va_end(list);
}

const char* fake_calls(void) { used = 0; return calls; }
void fake_refuse(int status) { refused = status; }
void fake_answers(int count) { answers = count; }

typedef struct { int compute, scale, transa, transb, epilogue; const void* bias; } Operation;
typedef struct { int type, batch; uint64_t rows, columns; int64_t ld, stride; } Layout;
typedef struct { uint64_t workspace; uint32_t schemes, alignment[4]; } Preference;
typedef struct { uint64_t data[8]; } Algo;
typedef struct { Algo algo; size_t workspace; int state; float waves; int reserved[4]; } Heuristic;

size_t cublasLtGetVersion(void) { return 130102; }
const char* cublasLtGetStatusString(int status) {
  return status == 15 ? "not supported" : status == 7 ? "invalid value" : "failed";
}
int cublasLtCreate(void** handle) {
  note("create\n");
  *handle = malloc(1);
  int status = refused;
  refused = 0;
  return status;
}
int cublasLtDestroy(void* handle) { note("destroy\n"); free(handle); return 0; }

int cublasLtMatmulDescCreate(Operation** made, int compute, int scale) {
  note("operation compute=%d scale=%d\n", compute, scale);
  Operation fresh = {compute, scale, 0, 0, 1, 0};
  *made = malloc(sizeof fresh);
  **made = fresh;
  return 0;
}
int cublasLtMatmulDescDestroy(Operation* it) { note("destroy operation\n"); free(it); return 0; }
int cublasLtMatmulDescSetAttribute(Operation* it, int attribute, const void* value, size_t size) {
  int32_t number = 0;
  if (size == 4) memcpy(&number, value, 4);
  switch (attribute) {
    case 3: it->transa = number; break;
    case 4: it->transb = number; break;
    case 7: it->epilogue = number; break;
    case 8: memcpy(&it->bias, value, 8); note("bias at %zu\n", (size_t)it->bias); return size == 8 ? 0 : 7;
    default: return 7;
  }
  note("set operation %d=%d\n", attribute, number);
  return size == 4 ? 0 : 7;
}

int cublasLtMatrixLayoutCreate(Layout** made, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  note("layout type=%d rows=%d columns=%d ld=%d\n", type, (int)rows, (int)columns, (int)ld);
  Layout fresh = {type, 1, rows, columns, ld, 0};
  *made = malloc(sizeof fresh);
  **made = fresh;
  return ld < (int64_t)rows ? 7 : 0;
}
int cublasLtMatrixLayoutDestroy(Layout* it) { note("destroy layout\n"); free(it); return 0; }
int cublasLtMatrixLayoutSetAttribute(Layout* it, int attribute, const void* value, size_t size) {
  if (attribute == 5 && size == 4) memcpy(&it->batch, value, 4);
  else if (attribute == 6 && size == 8) memcpy(&it->stride, value, 8);
  else return 7;
  note("set layout %d=%d\n", attribute, attribute == 5 ? it->batch : (int)it->stride);
  return 0;
}

int cublasLtMatmulPreferenceCreate(Preference** made) {
  note("preference\n");
  *made = calloc(1, sizeof(Preference));
  return 0;
}
int cublasLtMatmulPreferenceDestroy(Preference* it) { note("destroy preference\n"); free(it); return 0; }
int cublasLtMatmulPreferenceSetAttribute(Preference* it, int attribute, const void* value, size_t size) {
  if (attribute == 1 && size == 8) memcpy(&it->workspace, value, 8);
  else if (attribute == 3 && size == 4) memcpy(&it->schemes, value, 4);
  else if (attribute >= 5 && attribute <= 8 && size == 4) memcpy(&it->alignment[attribute - 5], value, 4);
  else return 7;
  return 0;
}

int cublasLtMatmulAlgoGetHeuristic(void* handle, Operation* operation, Layout* a, Layout* b, Layout* c, Layout* d,
                                   Preference* it, int wanted, Heuristic* result, int* count) {
  note("choose workspace=%d schemes=%d alignment=%d,%d,%d,%d bias=%zu\n", (int)it->workspace, it->schemes,
       it->alignment[0], it->alignment[1], it->alignment[2], it->alignment[3], (size_t)operation->bias);
  int status = refused;
  refused = 0;
  *count = status || !answers ? 0 : 1;
  if (*count) {
    memset(result, 0, sizeof *result);
    result->algo.data[7] = 0x5eed;
    result->workspace = 4096;
  }
  return status;
}
int cublasLtMatmulAlgoConfigGetAttribute(const Algo* algo, int attribute, void* value, size_t size, size_t* written) {
  int32_t number = 10 + attribute;
  if (algo->data[7] != 0x5eed || size != 4) return 7;
  memcpy(value, &number, 4);
  *written = 4;
  return 0;
}

static float half(uint16_t bits) {
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float size = exponent == 31 ? (fraction ? NAN : INFINITY)
               : exponent     ? ldexpf(1024 + fraction, exponent - 25)
                              : ldexpf(fraction, -24);
  return bits >> 15 ? -size : size;
}
static float get(const void* memory, int type, int64_t place) {
  if (type == 0) return ((const float*)memory)[place];
  uint16_t bits = ((const uint16_t*)memory)[place];
  if (type == 2) return half(bits);
  uint32_t wide = (uint32_t)bits << 16;
  float number;
  memcpy(&number, &wide, 4);
  return number;
}
/* Of all halves the nearest, of two the even one; NaN stays NaN. Both types have 15 bits
   of size that grow with the number, so that the search halves an interval. */
static void put(void* memory, int type, int64_t place, float number) {
  if (type == 0) { ((float*)memory)[place] = number; return; }
  uint16_t sign = signbit(number) ? 0x8000 : 0, low = 0, high = type == 2 ? 0x7c00 : 0x7f80;
  float size = fabsf(number);
  if (isnan(number)) { ((uint16_t*)memory)[place] = sign | 0x7fff; return; }
  while (high - low > 1) {
    uint16_t middle = (low + high) / 2;
    if (get(&middle, type, 0) <= size) low = middle; else high = middle;
  }
  uint16_t last = high - 1; /* infinity is as far away as the number after the largest */
  double below = get(&low, type, 0), above = get(&high, type, 0);
  if (isinf(above)) above = 2 * (double)get(&last, type, 0) - get(&(uint16_t){last - 1}, type, 0);
  double up = above - size, down = size - below;
  uint16_t nearest = up < down || (up == down && (low & 1)) ? high : low;
  ((uint16_t*)memory)[place] = sign | nearest;
}

int cublasLtMatmul(void* handle, Operation* it, const float* alpha, const void* A, Layout* a, const void* B, Layout* b,
                   const float* beta, const void* C, Layout* c, void* D, Layout* d, const Algo* algo, void* workspace,
                   size_t bytes, void* stream) {
  note("matmul workspace=%zu bytes=%zu stream=%zu\n", (size_t)workspace, bytes, (size_t)stream);
  if (refused) { int status = refused; refused = 0; return status; }
  if (algo->data[7] != 0x5eed || C != D) return 7;
  int64_t m = it->transa ? a->columns : a->rows, k = it->transa ? a->rows : a->columns;
  int64_t n = it->transb ? b->rows : b->columns;
  if ((int64_t)(it->transb ? b->columns : b->rows) != k || (int64_t)d->rows != m || (int64_t)d->columns != n) return 7;
  for (int64_t g = 0; g < d->batch; g++)
    for (int64_t j = 0; j < n; j++)
      for (int64_t i = 0; i < m; i++) {
        float sum = 0;
        for (int64_t l = 0; l < k; l++)
          sum += get(A, a->type, g * a->stride + (it->transa ? l + i * a->ld : i + l * a->ld)) *
                 get(B, b->type, g * b->stride + (it->transb ? j + l * b->ld : l + j * b->ld));
        int64_t place = g * d->stride + i + j * d->ld;
        sum *= *alpha;
        if (*beta != 0) sum += *beta * get(C, c->type, place);
        if (it->epilogue & 4) sum += get(it->bias, d->type, i);
        if (it->epilogue & 2) sum = sum < 0 ? 0 : sum;
        put(D, d->type, place, sum);
      }
  return 0;
}
