//! Loading the weights, requantised where that makes them faster.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, TensorInfo};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_transformers::models::quantized_llama::ModelWeights;

use super::Trouble;

/// Loads the model of a file whose head was read as `content`.
///
/// candle multiplies some kinds of weights without SIMD, twice as slowly as `Q8_0`; they become `Q8_0`. Its loader wants a
/// file, so it gets one that is made as it reads: only one tensor is in memory twice.
pub(super) fn load<R: Read + Seek>(content: Content, reader: &mut R) -> Result<ModelWeights, Trouble> {
    let mut at = 0;
    let mut converted = Content {
        magic: content.magic,
        metadata: content.metadata.clone(),
        tensor_infos: std::collections::HashMap::new(),
        tensor_data_offset: 0,
    };
    let mut places = BTreeMap::new();
    for (name, info) in &content.tensor_infos {
        let ggml_dtype = target(info);
        let size = info.shape.elem_count() / ggml_dtype.block_size() * ggml_dtype.type_size();
        let moved = TensorInfo {
            ggml_dtype,
            shape: info.shape.clone(),
            offset: at,
        };
        converted.tensor_infos.insert(name.clone(), moved);
        places.insert(at, (name.as_str(), ggml_dtype));
        // Never two at one place, even if one is empty.
        at += size as u64 + 1;
    }
    let mut converting = Converting {
        content: &content,
        reader,
        places,
        end: at,
        current: io::Cursor::default(),
    };
    Ok(ModelWeights::from_gguf(converted, &mut converting, &Device::Cpu)?)
}

/// What a tensor becomes: matrices of slow kinds become `Q8_0`, all else stays.
fn target(info: &TensorInfo) -> GgmlDType {
    use GgmlDType::{Q2K, Q3K, Q4K, Q5K, Q6K, Q8_0, Q8K};
    let is_fast = matches!(info.ggml_dtype, Q8_0 | Q2K | Q3K | Q4K | Q5K | Q6K | Q8K);
    let dims = info.shape.dims();
    let fits = dims.len() == 2 && dims[1].is_multiple_of(Q8_0.block_size());
    if !is_fast && fits { Q8_0 } else { info.ggml_dtype }
}

/// Reads like a file in which each tensor is stored as it should be.
struct Converting<'a, R> {
    content: &'a Content,
    reader: &'a mut R,
    places: BTreeMap<u64, (&'a str, GgmlDType)>,
    end: u64,
    current: io::Cursor<Vec<u8>>,
}

impl<R: Read + Seek> Converting<'_, R> {
    fn tensor(&mut self, name: &str, dtype: GgmlDType) -> candle_core::Result<Vec<u8>> {
        let tensor = self.content.tensor(self.reader, name, &Device::Cpu)?;
        let tensor = if tensor.dtype() == dtype {
            tensor
        } else {
            QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, dtype)?
        };
        Ok(tensor.data()?.into_owned())
    }
}

impl<R: Read + Seek> Seek for Converting<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(at) => {
                let &(name, dtype) = self
                    .places
                    .get(&at)
                    .ok_or_else(|| io::Error::other("no tensor begins here"))?;
                self.current = io::Cursor::new(self.tensor(name, dtype).map_err(io::Error::other)?);
                Ok(at)
            }
            // The loader asks where the file ends, and then always where a tensor begins.
            SeekFrom::End(0) => Ok(self.end),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl<R> Read for Converting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.current.read(buffer)
    }
}
