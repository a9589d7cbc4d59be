/* cuBLASLt for tests: the functions that `cublas.py` calls, on main memory.

   It follows the documentation of cuBLASLt, column-major order included, and computes
   by loops. Every call is noted, a line each, for `fake_calls`; `fake_refuse` lets the
   next choice or product fail, and `fake_answers(0)` finds no algorithm. */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 7, NOT_SUPPORTED = 15, MAGIC = 0x5eed };
enum { R_32F = 0, R_16F = 2 };
enum { RELU = 2, BIAS = 4 };

static char calls[1 << 16];
static size_t used;
static int refused, answers = 1;

static void note(const char* format, ...) {
  va_list list;
  va_start(list, format);
  used += vsnprintf(calls + used, sizeof calls - used, format, list);
  va_end(list);
}

static int refusal(void) {
  int status = refused;
  refused = OK;
  return status;
}

const char* fake_calls(void) {
  used = 0;
  return calls;
}
void fake_refuse(int status) { refused = status; }
void fake_answers(int count) { answers = count; }

typedef struct {
  int compute, scale, transa, transb, epilogue;
  const void* bias;
} Operation;
typedef struct {
  int type, batch;
  uint64_t rows, columns;
  int64_t ld, stride;
} Layout;
typedef struct {
  uint64_t workspace;
  uint32_t schemes, alignment[4];
} Preference;
typedef struct {
  uint64_t data[8];
} Algo;
typedef struct {
  Algo algo;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
} Heuristic;

size_t cublasLtGetVersion(void) { return 130102; }

const char* cublasLtGetStatusString(int status) {
  if (status == NOT_SUPPORTED) return "not supported";
  return status == INVALID ? "invalid value" : "failed";
}

int cublasLtCreate(void** handle) {
  note("create\n");
  *handle = malloc(1);
  return refusal();
}

int cublasLtDestroy(void* handle) {
  note("destroy\n");
  free(handle);
  return OK;
}

/* ------------------------------------------------------------ descriptions */

int cublasLtMatmulDescCreate(Operation** made, int compute, int scale) {
  note("operation compute=%d scale=%d\n", compute, scale);
  *made = calloc(1, sizeof(Operation));
  (*made)->compute = compute;
  (*made)->scale = scale;
  (*made)->epilogue = 1;
  return OK;
}

int cublasLtMatmulDescDestroy(Operation* it) {
  note("destroy operation\n");
  free(it);
  return OK;
}

int cublasLtMatmulDescSetAttribute(Operation* it, int attribute, const void* value,
                                   size_t size) {
  int32_t number;
  if (attribute == 8) {
    if (size != 8) return INVALID;
    memcpy(&it->bias, value, 8);
    note("bias at %zu\n", (size_t)it->bias);
    return OK;
  }
  if (size != 4) return INVALID;
  memcpy(&number, value, 4);
  note("set operation %d=%d\n", attribute, number);
  if (attribute == 3) it->transa = number;
  else if (attribute == 4) it->transb = number;
  else if (attribute == 7) it->epilogue = number;
  else return INVALID;
  return OK;
}

int cublasLtMatrixLayoutCreate(Layout** made, int type, uint64_t rows,
                               uint64_t columns, int64_t ld) {
  note("layout type=%d rows=%d columns=%d ld=%d\n", type, (int)rows, (int)columns,
       (int)ld);
  *made = calloc(1, sizeof(Layout));
  **made = (Layout){type, 1, rows, columns, ld, 0};
  return ld < (int64_t)rows ? INVALID : OK;
}

int cublasLtMatrixLayoutDestroy(Layout* it) {
  note("destroy layout\n");
  free(it);
  return OK;
}

int cublasLtMatrixLayoutSetAttribute(Layout* it, int attribute, const void* value,
                                     size_t size) {
  if (attribute == 5 && size == 4) memcpy(&it->batch, value, 4);
  else if (attribute == 6 && size == 8) memcpy(&it->stride, value, 8);
  else return INVALID;
  note("set layout %d=%d\n", attribute, attribute == 5 ? it->batch : (int)it->stride);
  return OK;
}

int cublasLtMatmulPreferenceCreate(Preference** made) {
  note("preference\n");
  *made = calloc(1, sizeof(Preference));
  return OK;
}

int cublasLtMatmulPreferenceDestroy(Preference* it) {
  note("destroy preference\n");
  free(it);
  return OK;
}

int cublasLtMatmulPreferenceSetAttribute(Preference* it, int attribute,
                                         const void* value, size_t size) {
  void* place = NULL;
  if (attribute == 1 && size == 8) place = &it->workspace;
  if (attribute == 3 && size == 4) place = &it->schemes;
  if (attribute >= 5 && attribute <= 8 && size == 4)
    place = &it->alignment[attribute - 5];
  if (place == NULL) return INVALID;
  memcpy(place, value, size);
  return OK;
}

/* ------------------------------------------------------------ the choice */

int cublasLtMatmulAlgoGetHeuristic(void* handle, Operation* operation, Layout* a,
                                   Layout* b, Layout* c, Layout* d, Preference* it,
                                   int wanted, Heuristic* result, int* count) {
  (void)handle, (void)a, (void)b, (void)c, (void)d;
  note("choose workspace=%d schemes=%d alignment=%d,%d,%d,%d bias=%zu\n",
       (int)it->workspace, it->schemes, it->alignment[0], it->alignment[1],
       it->alignment[2], it->alignment[3], (size_t)operation->bias);
  int status = refusal();
  *count = status == OK && answers && wanted > 0;
  if (*count) {
    memset(result, 0, sizeof *result);
    result->algo.data[7] = MAGIC;
    result->workspace = 4096;
  }
  return status;
}

int cublasLtMatmulAlgoConfigGetAttribute(const Algo* algo, int attribute, void* value,
                                         size_t size, size_t* written) {
  int32_t number = 10 + attribute;
  if (algo->data[7] != MAGIC || size != 4) return INVALID;
  memcpy(value, &number, 4);
  *written = 4;
  return OK;
}

/* ------------------------------------------------------------ the product */

static float half(uint16_t bits) {
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float size = ldexpf(fraction, -24);
  if (exponent) size = ldexpf(1024 + fraction, exponent - 25);
  if (exponent == 31) size = fraction ? NAN : INFINITY;
  return bits >> 15 ? -size : size;
}

static float get(const void* memory, int type, int64_t place) {
  if (type == R_32F) return ((const float*)memory)[place];
  uint16_t bits = ((const uint16_t*)memory)[place];
  if (type == R_16F) return half(bits);
  uint32_t wide = (uint32_t)bits << 16;
  float number;
  memcpy(&number, &wide, 4);
  return number;
}

/* Of all halves the nearest, of two the even one; NaN stays NaN. Both types have 15
   bits of size that grow with the number, so that the search halves an interval. */
static uint16_t nearest(float number, int type) {
  uint16_t sign = signbit(number) ? 0x8000 : 0;
  uint16_t low = 0, high = type == R_16F ? 0x7c00 : 0x7f80;
  float size = fabsf(number);
  if (isnan(number)) return sign | 0x7fff;
  if (isinf(number)) return sign | high;
  while (high - low > 1) {
    uint16_t middle = (low + high) / 2;
    if (get(&middle, type, 0) <= size) low = middle;
    else high = middle;
  }
  double below = get(&low, type, 0), above = get(&high, type, 0);
  if (isinf(above)) { /* as far away as the next number would be */
    uint16_t before = low - 1;
    above = 2 * below - get(&before, type, 0);
  }
  double up = above - size, down = size - below;
  return sign | (up < down || (up == down && (low & 1)) ? high : low);
}

static void put(void* memory, int type, int64_t place, float number) {
  if (type == R_32F) ((float*)memory)[place] = number;
  else ((uint16_t*)memory)[place] = nearest(number, type);
}

int cublasLtMatmul(void* handle, Operation* it, const float* alpha, const void* A,
                   Layout* a, const void* B, Layout* b, const float* beta,
                   const void* C, Layout* c, void* D, Layout* d, const Algo* algo,
                   void* workspace, size_t bytes, void* stream) {
  (void)handle;
  note("matmul workspace=%zu bytes=%zu stream=%zu\n", (size_t)workspace, bytes,
       (size_t)stream);
  int status = refusal();
  if (status != OK) return status;
  if (algo->data[7] != MAGIC || C != D) return INVALID;
  int64_t m = it->transa ? a->columns : a->rows, k = it->transa ? a->rows : a->columns;
  int64_t n = it->transb ? b->rows : b->columns;
  int64_t depth = it->transb ? b->columns : b->rows;
  if (depth != k || (int64_t)d->rows != m || (int64_t)d->columns != n) return INVALID;
  for (int64_t g = 0; g < d->batch; g++)
    for (int64_t j = 0; j < n; j++)
      for (int64_t i = 0; i < m; i++) {
        float sum = 0;
        for (int64_t l = 0; l < k; l++) {
          int64_t left = it->transa ? l + i * a->ld : i + l * a->ld;
          int64_t right = it->transb ? j + l * b->ld : l + j * b->ld;
          sum += get(A, a->type, g * a->stride + left) *
                 get(B, b->type, g * b->stride + right);
        }
        int64_t place = g * d->stride + i + j * d->ld;
        sum *= *alpha;
        if (*beta != 0) sum += *beta * get(C, c->type, place);
        if (it->epilogue & BIAS) sum += get(it->bias, d->type, i);
        if (it->epilogue & RELU) sum = sum < 0 ? 0 : sum;
        put(D, d->type, place, sum);
      }
  return OK;
}
