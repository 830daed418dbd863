// Package lora reads and writes low-rank adapters in the files that other tools load, and merges them into a network's
// weights. The adapters' arithmetic is layer.LoRA's.
//
// Three layouts are known, by their tensors' names for module M of the UNet, and T of a text encoder:
//
//	diffusers   unet.M.lora.down.weight, unet.M.lora.up.weight (other modules than attention's: unet.M.lora_A.weight, …);
//	            text_encoder.text_model.T.lora_linear_layer.down.weight, …, and text_encoder_2.…;
//	            alpha and rank in the metadata key lora_adapter_metadata, as JSON
//	peft        base_model.model.M.lora_A.weight, …; alpha and rank in adapter_config.json beside the file;
//	            text encoders have files of their own, in folders text_encoder and text_encoder_2
//	kohya       lora_unet_M.lora_down.weight, lora_unet_M.lora_up.weight, lora_unet_M.alpha, with M's dots as underscores;
//	            lora_te_text_model_T.…, with two text encoders lora_te1_… and lora_te2_…;
//	            what sd-scripts, ComfyUI and AUTOMATIC1111 load
//
// A file that says nothing of alpha means alpha = rank, scale 1, as in all three peers.
//
// Source: diffusers 0.42, utils/state_dict_utils.py and loaders/lora_base.py; peft 0.21, utils/save_and_load.py;
// kohya-ss/sd-scripts, networks/lora.py.
package lora
