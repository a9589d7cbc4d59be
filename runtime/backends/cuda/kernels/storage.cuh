// What blobs are stored as: float, bfloat16 or float16. Arithmetic is in float.
//
// A source is compiled with STORE as one of the three names. Half types are bits with
// conversions, so that no header of the toolkit is needed.
#ifndef STORE
#define STORE float
#endif

struct bfloat16 { unsigned short bits; };
struct float16 { unsigned short bits; };

__device__ inline float to_float(float value) { return value; }

__device__ inline float to_float(bfloat16 value) {
  return __uint_as_float((unsigned)value.bits << 16);
}

__device__ inline float to_float(float16 value) {
#ifdef __CUDA_ARCH__
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  unsigned sign = (value.bits & 0x8000u) << 16, rest = value.bits & 0x7fffu;
  if (rest >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  if (rest >= 0x400u) return __uint_as_float(sign | (rest << 13) + (112u << 23));
  float small = (float)rest * 5.9604644775390625e-8f;  // 2^-24
  return sign ? -small : small;
#endif
}

// Conversions round to the nearest, ties to even; a NaN stays one.
__device__ inline void from_float(float value, float* out) { *out = value; }

__device__ inline void from_float(float value, bfloat16* out) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out->bits) : "f"(value));
#else
  unsigned bits = __float_as_uint(value);
  bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  out->bits = is_nan ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
#endif
}

__device__ inline void from_float(float value, float16* out) {
#ifdef __CUDA_ARCH__
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out->bits) : "f"(value));
#else
  unsigned bits = __float_as_uint(value), sign = bits >> 16 & 0x8000u;
  unsigned rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) { out->bits = 0x7fffu; return; }
  if (rest >= 0x477ff000u) { out->bits = sign | 0x7c00u; return; }
  if (rest < 0x38800000u) {  // below 2^-14: whole multiples of 2^-24
    float units = __uint_as_float(rest) * 16777216.0f;
    out->bits = sign | (unsigned)rintf(units);
    return;
  }
  rest -= 112u << 23;
  out->bits = sign | (rest + 0xfffu + (rest >> 13 & 1u)) >> 13;
#endif
}

template <class T>
__device__ inline T stored(float value) {
  T out;
  from_float(value, &out);
  return out;
}

// Sixteen bytes of neighbours, read and written at once.
template <class T>
struct alignas(16) Pack { T at[16 / sizeof(T)]; };

#define PACK ((int)(16 / sizeof(STORE)))

__device__ inline Pack<STORE> load_pack(const STORE* from) {
  return *reinterpret_cast<const Pack<STORE>*>(from);
}

__device__ inline void store_pack(STORE* to, const Pack<STORE>& pack) {
  *reinterpret_cast<Pack<STORE>*>(to) = pack;
}

// The first element of a thread that strides through many, and how far it steps.
#define FIRST ((long long)blockIdx.x * blockDim.x + threadIdx.x)
#define STRIDE ((long long)gridDim.x * blockDim.x)
